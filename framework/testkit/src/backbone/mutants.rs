//! The suite passes a sound backbone and finds each flaw.

use std::cell::Cell;
use std::thread::sleep;

use mobillm_core::backbone::{Pooling, TapSink};
use mobillm_core::fingerprint::Fingerprint;

use super::*;

/// What a backbone can get wrong.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    TapsComeLast,
    TapsEveryLayer,
    TapsFlattened,
    DependsOnMates,
    Drifts,
    OwnIsMissing,
    OwnIsNoNumber,
    OwnDependsOnMates,
    OwnDependsOnTaps,
    TakesEveryBatch,
    GoesOnAfterAnError,
    StaysBrokenAfterAnError,
    CatchesPanics,
    RunsOneAtATime,
    MixesRuns,
}

thread_local! {
    /// Runs of this thread that were started.
    static STARTED: Cell<usize> = const { Cell::new(0) };
    /// Those of them that are not over.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// A run of a toy, by its number.
struct Run(usize);

impl Run {
    fn start() -> Self {
        OPEN.set(OPEN.get() + 1);
        STARTED.set(STARTED.get() + 1);
        Self(STARTED.get())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
    }
}

/// Each layer takes a millisecond and adds one.
struct Toy {
    info: BackboneInfo,
    taps: Vec<usize>,
    flaw: Flaw,
    offset: f32,
}

impl Toy {
    fn new(taps: &[usize], flaw: Flaw) -> Self {
        let info = BackboneInfo {
            architecture: "toy".to_owned(),
            layers: 2,
            hidden: 2,
            max_tokens: 8,
            vocabulary: 5,
            pooling: Pooling::Mean,
            own_outputs: Some(2),
            language_head: false,
            bundle: Fingerprint([0; 32]),
        };
        Self { info, taps: taps.to_vec(), flaw, offset: 0.0 }
    }

    /// The first token of each sample decides.
    fn own(&self, batch: &TokenBatch) -> OwnPrediction {
        let shift = match self.flaw {
            Flaw::OwnIsMissing => return None,
            Flaw::OwnIsNoNumber => f32::NAN,
            Flaw::OwnDependsOnMates => batch.samples() as f32,
            Flaw::OwnDependsOnTaps => self.taps.len() as f32,
            _ => 0.0,
        };
        let own = |(row, output)| batch.ids()[[row, 0]] as f32 + output as f32 + shift;
        Some(Array2::from_shape_fn((batch.samples(), 2), own))
    }

    fn check(&self, batch: &TokenBatch) -> Result<(), BackboneError> {
        let lengths = batch.lengths().iter();
        let outside = |sample: usize| batch.ids().row(sample).iter().any(|&id| id >= 5);
        let bad = |(sample, length): &(usize, &usize)| {
            !(1..=self.info.max_tokens).contains(*length) || outside(*sample)
        };
        let first_bad = lengths.enumerate().find(bad).map(|(sample, _)| sample);
        match first_bad.or((batch.samples() == 0).then_some(0)) {
            Some(sample) if self.flaw != Flaw::TakesEveryBatch => {
                Err(BackboneError::Batch { sample, problem: "is bad".to_owned() })
            }
            _ => Ok(()),
        }
    }
}

impl Backbone for Toy {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        _: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        self.check(batch)?;
        let run = Run::start();
        if OPEN.get() > 1 && self.flaw == Flaw::RunsOneAtATime {
            return Err(BackboneError::Engine { engine: "toy", source: "is busy".into() });
        }
        let (samples, tokens) = batch.ids().dim();
        if self.flaw == Flaw::DependsOnMates {
            self.offset = tokens as f32;
        }
        if self.flaw == Flaw::Drifts {
            self.offset += 0.001;
        }
        for layer in 0..=self.info.layers {
            if layer > 0 && self.flaw != Flaw::TapsComeLast {
                sleep(Duration::from_millis(1));
            }
            if layer == 0 && self.flaw == Flaw::TapsComeLast {
                sleep(Duration::from_millis(2));
            }
            if !self.taps.contains(&layer) && self.flaw != Flaw::TapsEveryLayer {
                continue;
            }
            let width = if self.flaw == Flaw::TapsFlattened { 1 } else { self.info.hidden };
            let later_runs = match self.flaw {
                Flaw::MixesRuns => STARTED.get() - run.0,
                _ => 0,
            };
            let shift = (layer + later_runs) as f32 + self.offset;
            let hidden = Array3::from_shape_fn((samples, tokens, width), |(row, at, _)| {
                batch.ids()[[row, at]] as f32 + shift
            });
            let tap = Tap { layer, hidden: hidden.view(), lengths: batch.lengths() };
            let taken = match self.flaw {
                Flaw::CatchesPanics => catch_unwind(AssertUnwindSafe(|| sink.tap(tap)))
                    .unwrap_or_else(|_| Err("the sink panicked".into())),
                _ => sink.tap(tap),
            };
            if let Err(source) = taken {
                match self.flaw {
                    Flaw::GoesOnAfterAnError => continue,
                    Flaw::StaysBrokenAfterAnError => self.offset += 1.0,
                    _ => {}
                }
                return Err(BackboneError::Sink { layer, source });
            }
        }
        Ok(self.own(batch))
    }
}

#[test]
fn a_backbone_without_a_flaw_passes() {
    conformance(&|taps| Box::new(Toy::new(taps, Flaw::None)));
}

#[test]
fn every_flaw_breaks_its_law() {
    for (flaw, law) in [
        (Flaw::TapsComeLast, "before layer 1 runs"),
        (Flaw::TapsEveryLayer, "exactly the asked layers"),
        (Flaw::TapsFlattened, "[batch, tokens, hidden]"),
        (Flaw::DependsOnMates, "batch mates"),
        (Flaw::Drifts, "equal bits"),
        (Flaw::OwnIsMissing, "[batch, own_outputs]"),
        (Flaw::OwnIsNoNumber, "own prediction is finite"),
        (Flaw::OwnDependsOnMates, "does not depend on batch mates"),
        (Flaw::OwnDependsOnTaps, "own prediction does not depend on which layers"),
        (Flaw::TakesEveryBatch, "an empty batch makes no taps"),
        (Flaw::GoesOnAfterAnError, "BackboneError::Sink"),
        (Flaw::StaysBrokenAfterAnError, "next run"),
        (Flaw::CatchesPanics, "a panic in the sink unwinds"),
        (Flaw::RunsOneAtATime, "a sink may run a backbone"),
        (Flaw::MixesRuns, "not affected by those that its sink makes"),
    ] {
        let broken = || conformance(&|taps| Box::new(Toy::new(taps, flaw)));
        let panic = catch_unwind(AssertUnwindSafe(broken)).unwrap_err();
        let message = match panic.downcast_ref::<&str>() {
            Some(message) => *message,
            None => panic.downcast_ref::<String>().unwrap(),
        };
        assert!(message.contains(law), "{law:?} is not in: {message}");
    }
}
