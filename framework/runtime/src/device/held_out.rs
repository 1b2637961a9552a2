//! Held-out rows: run forward once, kept on the device, evaluated after every epoch.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobillm_core::backbone::Tokens;
use mobillm_core::privacy::PrivacyPolicy;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::sample::{SampleId, Truth};
use mobillm_core::side_network::SideNetwork;
use mobillm_task::error::Place;
use mobillm_task::schedule::MicroBatch;
use mobillm_task::{Scores, TaskConfig};

use crate::device::Tokenized;
use crate::device::predict::KeptBatch;
use crate::device::spill::Spill;
use crate::device::taps::TapPath;
use crate::error::{Asked, RunError};
use crate::progress::{Phase, Watch};

/// How answers are made and scored.
pub struct Evaluation {
    /// Encodes and decodes as in training.
    pub quantizer: Arc<dyn Quantizer>,
    /// Combines own prediction and side output.
    pub policy: Box<dyn PrivacyPolicy>,
    /// Says how answers are scored.
    pub task: TaskConfig,
}

/// The kept taps and truths of the held-out rows. The taps wait on disk: in memory they would grow with the rows.
pub struct HeldOut {
    batches: Vec<Batch>,
    taps: Spill,
    /// The file that the rows are of.
    file: PathBuf,
    /// The truths, in the order of `batches`.
    truths: Vec<Truth>,
    evaluation: Evaluation,
}

/// Rows that went forward together.
struct Batch {
    kept: KeptBatch,
    /// Where each of its taps is in the spill.
    taps: Vec<Range<u64>>,
    /// Where each row is in its file.
    places: Vec<Place>,
}

impl HeldOut {
    /// Runs `rows`, named `names`, forward in micro-batches sorted by length; their taps go to a file in `folder`.
    ///
    /// # Errors
    /// If a stage fails, the disk is full, or the run is to stop.
    pub fn forward(
        folder: &Path,
        path: &mut TapPath,
        evaluation: Evaluation,
        rows: &Tokenized,
        names: &[SampleId],
        micro_batch: MicroBatch,
        watch: &Watch<'_>,
    ) -> Result<Self, RunError> {
        let order = (0..rows.tokens.len()).collect();
        let micro_batches = micro_batch.cut(order, |row| rows.tokens[row].ids.len());
        watch.begin(Phase::HeldOut, rows.tokens.len() as u64, 0);
        let (mut batches, mut truths, mut taps) = (Vec::new(), Vec::new(), Spill::new(folder)?);
        for chunk in micro_batches {
            watch.check()?;
            let tokens: Vec<&Tokens> = chunk.iter().map(|&row| &rows.tokens[row]).collect();
            let samples: Vec<SampleId> = chunk.iter().map(|&row| names[row]).collect();
            let mut written = Vec::new();
            let keep = &mut |tap: &[u8]| {
                written.push(taps.write(tap)?);
                Ok(())
            };
            let kept = KeptBatch::forward(path, &*evaluation.quantizer, &tokens, &samples, keep)?;
            let places = chunk.iter().map(|&row| rows.places[row]).collect();
            batches.push(Batch { kept, taps: written, places });
            truths.extend(chunk.iter().map(|&row| rows.truths[row]));
            watch.advance(Phase::HeldOut, truths.len() as u64);
        }
        watch.end(Phase::HeldOut);
        Ok(Self { batches, taps, file: rows.file.clone(), truths, evaluation })
    }

    /// Scores `network` on the held-out rows, without a forward pass.
    ///
    /// # Errors
    /// If the kept taps cannot be read or do not fit the network, the policy cannot combine an answer, or
    /// one is not finite; of an answer with its row.
    pub fn evaluate(&mut self, network: &dyn SideNetwork) -> Result<Scores, RunError> {
        let mut outputs = Vec::new();
        for Batch { kept, taps, places } in &self.batches {
            let taps = taps.iter().map(|place| self.taps.read(place));
            let taps: Vec<Vec<u8>> = taps.collect::<Result<_, _>>()?;
            let sides = kept.outputs(&taps, &*self.evaluation.quantizer, network)?;
            let asked = |row: usize| Asked::Row { file: self.file.clone(), place: places[row] };
            for (sample, side) in sides.rows().into_iter().enumerate() {
                outputs.extend(kept.answer(&*self.evaluation.policy, sample, side, &asked)?);
            }
        }
        Ok(Scores::of(&self.evaluation.task, &self.truths, &outputs)?)
    }

    /// Scores the device's own predictions, which need no training.
    ///
    /// # Errors
    /// If an answer is not finite.
    pub fn evaluate_untrained(&self) -> Result<Scores, RunError> {
        let own =
            |Batch { kept, .. }: &Batch| (0..kept.samples()).flat_map(|at| kept.own(at)).collect();
        let outputs: Vec<Vec<f32>> = self.batches.iter().map(own).collect();
        Ok(Scores::of(&self.evaluation.task, &self.truths, &outputs.concat())?)
    }
}
