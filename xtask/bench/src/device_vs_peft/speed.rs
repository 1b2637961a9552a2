//! Tokens per second: a device with all taps against PyTorch, the same rows in the same batches.

use std::time::Instant;

use mobillm::assembly::Assembly;
use mobillm::device::Prepared;
use mobillm::device::own::prior;
use mobillm::device::taps::{MicroBatch, TapPath};
use mobillm::pipeline::prepare;
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
        let loaded = model.messages(WeightFormat::Int8)?;
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

    /// Seconds of the quickest of some rounds with taps.
    fn quickest(&mut self, batches: &[Vec<&Tokens>]) -> Result<f64, Error> {
        (0..ROUNDS)
            .try_fold(f64::INFINITY, |quickest: f64, _| Ok(quickest.min(self.with_taps(batches)?)))
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

/// What both sides took, one after the other.
struct Turn {
    /// Seconds of the device's quickest round.
    ours: f64,
    theirs: Taken,
}

/// A turn with each of PyTorch's ways.
struct Turns {
    forward: Turn,
    bf16: Turn,
    lora: Turn,
    full: Turn,
    lean: Turn,
}

/// What PyTorch took for LoRA, and the speed figures.
pub fn figures(model: &Model) -> Result<(Vec<Figure>, Taken), Error> {
    let loaded = model.messages(WeightFormat::Int8)?;
    let (assembly, prepared) = prepare(&loaded, &model.environment, &unobserved())?;
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

    // Both sides take turns, with as many tries each: the quickest is what a side does undisturbed.
    let mut turn = |mode, lean| -> Result<Turn, Error> {
        let ours = device.quickest(&rows.unsorted)?;
        let theirs = pytorch.run(mode, lean, ROUNDS, u64::MAX)?.ok_or("it has no limit")?;
        Ok(Turn { ours, theirs })
    };
    let turns = Turns {
        forward: turn(Mode::Forward, false)?,
        bf16: turn(Mode::ForwardBf16, false)?,
        lora: turn(Mode::Lora, false)?,
        full: turn(Mode::Full, false)?,
        lean: turn(Mode::Forward, true)?,
    };
    let unsorted = device.quickest(&rows.unsorted)?;
    let sorted = device.quickest(&rows.sorted)?;
    let mut figures = against(&rows, &turns);
    figures.push(
        Figure::new("tokens/s, sorted by length over as they come", unsorted / sorted, "times")
            .note(format!("the device alone: {:.0} tokens/s sorted", rows.tokens as f64 / sorted)),
    );
    figures.push(cost_of_taps(&mut device, &rows)?);
    Ok((figures, turns.lora.theirs))
}

fn against(rows: &Rows<'_>, turns: &Turns) -> Vec<Figure> {
    let rate = |seconds: f64| rows.tokens as f64 / seconds;
    let padded: usize = rows
        .unsorted
        .iter()
        .map(|batch| batch.len() * batch.iter().map(|row| row.ids.len()).max().unwrap_or(0))
        .sum();
    let figure = |what: &str, turn: &Turn, more: &str| {
        let theirs = turn.theirs.quickest();
        let note = format!("{:.0} over {:.0} tokens/s{more}", rate(turn.ours), rate(theirs));
        Figure::new(format!("tokens/s, device over {what}"), theirs / turn.ours, "times").note(note)
    };
    let how = format!(
        "; SmolLM2 in int8, 31 taps, nf4, against PyTorch in f32; {ROWS} rows in batches of {BATCH} as they \
         come, {} tokens, {padded} with padding; the quickest of {ROUNDS} rounds on each side",
        rows.tokens,
    );
    let words = LABEL_WORDS.map(|word| format!("{word:?}")).join(" and ");
    let lean = format!(
        ", which scores {words} at the last token only; PyTorch's users score every word at every token"
    );
    vec![
        figure("PyTorch's forward", &turns.forward, &how).at_least(2.0),
        figure("a step of LoRA", &turns.lora, ", rank 8 on queries and values").at_least(5.0),
        figure("a step of full fine-tuning", &turns.full, ""),
        figure("PyTorch's forward in bf16", &turns.bf16, ""),
        figure("a lean forward of PyTorch", &turns.lean, &lean),
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
