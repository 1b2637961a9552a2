//! Tokens per second: a device with all taps against PyTorch, the same rows in the same batches.

use std::time::Instant;

use mobillm::assembly::Assembly;
use mobillm::device::own::prior;
use mobillm::device::taps::{MicroBatch, TapPath};
use mobillm::device::Prepared;
use mobillm::pipeline::prepare_data;
use mobillm_core::backbone::{Backbone, BackboneContext, ForwardContext, Tap, TokenBatch, Tokens};
use mobillm_core::privacy::Purpose;
use mobillm_core::quantizer;
use mobillm_core::sample::SampleId;
use mobillm_weights::WeightFormat;

use super::model::{BATCH, LABEL_WORDS, Model};
use super::pytorch::{Mode, PyTorch, Taken};
use super::venv;
use crate::Error;
use crate::figure::Figure;
use crate::pipeline::{quietest, unobserved};

/// Rows that both sides run.
const ROWS: usize = 160;
/// Rounds of each side; the quickest counts.
const ROUNDS: usize = 3;
/// Rounds in which a session with taps and one without take turns.
const TURNS: (usize, usize) = (7, 12);

/// A device that only forwards, selects and quantizes.
struct Device<'a> {
    assembly: &'a Assembly,
    path: TapPath,
    /// The same model without taps but the last layer's, which nobody looks at.
    bare: Box<dyn Backbone>,
    payload: Vec<u8>,
}

impl<'a> Device<'a> {
    fn new(model: &Model, assembly: &'a Assembly, prepared: &Prepared) -> Result<Self, Error> {
        let loaded = model.messages(WeightFormat::Int8, &[])?;
        let own = assembly.own(prior(&assembly.objective, &prepared.train.truths));
        let path = assembly.tap_path(&loaded.config, &model.environment, own)?;
        let context = BackboneContext {
            bundle: assembly.bundle.path().to_owned(),
            taps: vec![assembly.info.layers],
            label_tokens: assembly.label_tokens().to_vec(),
            libraries: model.environment.libraries.clone(),
        };
        let bare = loaded.config.device.backbone.build(&context)?;
        Ok(Self { assembly, path, bare, payload: Vec::new() })
    }

    /// Seconds for all batches, with all taps selected, cleared and quantized.
    fn with_taps(&mut self, batches: &[Vec<&Tokens>]) -> Result<f64, Error> {
        let began = Instant::now();
        for tokens in batches {
            let samples: Vec<SampleId> = (0..tokens.len() as u64).map(SampleId).collect();
            let batch = MicroBatch { tokens, samples: &samples, purpose: Purpose::Train };
            let (quantizer, payload) = (&*self.assembly.quantizer, &mut self.payload);
            self.path.forward(&batch, &mut |_, cleared| {
                payload.clear();
                Ok(quantizer::encode(quantizer, cleared, payload)?)
            })?;
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// Seconds for the same batches without taps.
    fn without_taps(&mut self, batches: &[Vec<&Tokens>]) -> Result<f64, Error> {
        let padding = self.assembly.bundle.padding();
        let mut sink = |_: Tap<'_>| Ok(());
        let began = Instant::now();
        for tokens in batches {
            let batch = TokenBatch::new(tokens.iter().copied(), padding);
            self.bare.forward(&batch, &ForwardContext::default(), &mut sink)?;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Rows in their order, and sorted by length, in batches.
struct Rows<'a> {
    unsorted: Vec<Vec<&'a Tokens>>,
    sorted: Vec<Vec<&'a Tokens>>,
    tokens: usize,
}

impl<'a> Rows<'a> {
    fn new(prepared: &'a Prepared) -> Self {
        let rows: Vec<&Tokens> = prepared.train.tokens.iter().take(ROWS).collect();
        let batches = |rows: &[&'a Tokens]| rows.chunks(BATCH).map(<[_]>::to_vec).collect();
        let mut sorted = rows.clone();
        sorted.sort_by_key(|row| row.ids.len());
        Self {
            unsorted: batches(&rows),
            sorted: batches(&sorted),
            tokens: rows.iter().map(|row| row.ids.len()).sum(),
        }
    }
}

/// What PyTorch took in each of its ways.
struct Theirs {
    forward: Taken,
    bf16: Taken,
    lora: Taken,
    lean: Taken,
}

/// What PyTorch took for LoRA, and the speed figures.
pub fn figures(model: &Model) -> Result<(Vec<Figure>, Taken), Error> {
    let loaded = model.messages(WeightFormat::Int8, &[])?;
    let assembly = Assembly::new(&loaded, &model.environment)?;
    let prepared = prepare_data(&loaded, &model.environment, &assembly, &unobserved())?;
    let rows = Rows::new(&prepared);
    let pytorch = PyTorch {
        python: venv::python()?,
        model: PyTorch::gguf(&model.gguf),
        labels: assembly.label_tokens().to_vec(),
        batches: rows
            .unsorted
            .iter()
            .map(|batch| PyTorch::batch(batch, assembly.bundle.padding()))
            .collect(),
    };
    let mut device = Device::new(model, &assembly, &prepared)?;
    device.with_taps(&rows.unsorted)?;

    // Both sides take turns; each shows what it does when it has the machine.
    let mut ours = f64::INFINITY;
    let mut turn = |mode, lean| -> Result<Taken, Error> {
        for _ in 0..ROUNDS {
            ours = ours.min(device.with_taps(&rows.unsorted)?);
        }
        pytorch.run(mode, lean, ROUNDS, u64::MAX)?.ok_or_else(|| "it has no limit".into())
    };
    let theirs = Theirs {
        forward: turn(Mode::Forward, false)?,
        bf16: turn(Mode::ForwardBf16, false)?,
        lora: turn(Mode::Lora, false)?,
        lean: turn(Mode::Forward, true)?,
    };
    let sorted = (0..ROUNDS).try_fold(f64::INFINITY, |quickest, _| {
        Ok::<_, Error>(quickest.min(device.with_taps(&rows.sorted)?))
    })?;
    let mut figures = against(&rows, ours, sorted, &theirs);
    figures.push(cost_of_taps(&mut device, &rows)?);
    Ok((figures, theirs.lora))
}

fn against(rows: &Rows<'_>, ours: f64, sorted: f64, theirs: &Theirs) -> Vec<Figure> {
    let rate = |seconds: f64| rows.tokens as f64 / seconds;
    let padded: usize = rows
        .unsorted
        .iter()
        .map(|batch| batch.len() * batch.iter().map(|row| row.ids.len()).max().unwrap_or(0))
        .sum();
    let words = LABEL_WORDS.map(|word| format!("{word:?}")).join(" and ");
    let note = format!(
        "SmolLM2 in int8, 31 taps, nf4, against PyTorch in f32: {:.0} over {:.0} tokens/s; {} rows in \
         batches of {BATCH} as they come, {} tokens, {padded} with padding; the quickest of {ROUNDS} \
         rounds or more on each side, in turns",
        rate(ours),
        rate(theirs.forward.quickest()),
        ROWS,
        rows.tokens,
    );
    let faster = |taken: &Taken| taken.quickest() / ours;
    vec![
        Figure::new("tokens/s, device over PyTorch's forward", faster(&theirs.forward), "times")
            .at_least(2.0)
            .note(note),
        Figure::new("tokens/s, device over a step of LoRA", faster(&theirs.lora), "times")
            .at_least(5.0)
            .note(format!("rank 8 on queries and values: {:.0} tokens/s", rate(theirs.lora.quickest()))),
        Figure::new("tokens/s, device over PyTorch's forward in bf16", faster(&theirs.bf16), "times")
            .note(format!("{:.0} tokens/s", rate(theirs.bf16.quickest()))),
        Figure::new("tokens/s, device over a lean forward of PyTorch", faster(&theirs.lean), "times")
            .note(format!(
                "f32, scoring {words} at the last token only, where PyTorch's users score every word at \
                 every token: {:.0} tokens/s",
                rate(theirs.lean.quickest())
            )),
        Figure::new("tokens/s, sorted by length over as they come", ours / sorted, "times")
            .note(format!("the device alone: {:.0} tokens/s sorted", rate(sorted))),
    ]
}

/// How much longer the device takes with all taps than without.
fn cost_of_taps(device: &mut Device<'_>, rows: &Rows<'_>) -> Result<Figure, Error> {
    let batches = &rows.sorted;
    device.without_taps(batches)?;
    let (rounds, choice) = quietest(TURNS.0, TURNS.1, |number| {
        // Whichever comes first has the machine of another moment; so they take turns.
        if number.is_multiple_of(2) {
            let without = device.without_taps(batches)?;
            Ok(device.with_taps(batches)? / without)
        } else {
            let with = device.with_taps(batches)?;
            Ok(with / device.without_taps(batches)?)
        }
    })?;
    let mut more: Vec<f64> = rounds.iter().map(|ratio| 100.0 * (ratio - 1.0)).collect();
    more.sort_by(f64::total_cmp);
    let note = format!(
        "31 taps, selected, cleared and nf4, over a session without; median of {choice} ({:.1} to {:.1})",
        more[0],
        more[more.len() - 1]
    );
    let median = more[more.len() / 2];
    Ok(Figure::new("taps, selection and quantization", median, "% more").at_most(5.0).note(note))
}
