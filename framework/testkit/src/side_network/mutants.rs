//! The suite passes a sound network and finds each way to break one.

use std::sync::atomic::{AtomicU64, Ordering};

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_core::activations::ActivationBatch;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::side_network::{
    SideNetworkContext, SideNetworkError, SideNetworkInfo, StepReport,
};
use ndarray::{Array2, Axis, concatenate};
use serde::{Deserialize, Serialize};

use super::*;
use crate::law::Verdict;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    Nothing,
    /// Takes no regression.
    Picky,
    /// Finds no fault with what it cannot build.
    Uncritical,
    /// Does not start at zero.
    Biased,
    /// Has an output too many.
    Wide,
    /// Reports a loss that stays.
    Stuck,
    /// Counts steps from 1.
    Miscounts,
    /// Differs from one instance to the next.
    Restless,
    /// Starts the same with every seed.
    Seedless,
    /// Takes no notice of a checkpoint.
    Forgetful,
    /// Takes any checkpoint.
    Credulous,
    /// Predicts something else once it was loaded.
    Drifts,
    /// Wants several taps.
    Greedy,
    /// Adds what the batch mates have.
    Mates,
    /// Learns from rows that are not in its answers.
    Eavesdrops,
    /// Says of a wrong batch that the engine failed.
    Vague,
    /// Does not say which target is wrong.
    Nameless,
    /// Goes on when the loss is no number.
    Diverges,
}

/// Candle's networks with one thing broken.
#[derive(Debug, Serialize, Deserialize)]
struct MutantConfig(Fault);

#[typetag::serde(name = "mutant")]
impl SideNetworkConfig for MutantConfig {
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        match self.0 {
            Fault::Picky if context.objective == Objective::Regression => refused(),
            Fault::Uncritical => Vec::new(),
            Fault::Greedy if context.taps.len() == 1 => refused(),
            _ => sound().check(context),
        }
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let mut context = context.clone();
        if self.0 == Fault::Seedless {
            context.seed = 0;
        }
        Ok(Box::new(Mutant::new(sound().build(&context)?, self.0, false)))
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        Ok(Box::new(Mutant::new(sound().load(adapter)?, self.0, true)))
    }
}

fn sound() -> CandleSideNetworkConfig {
    CandleSideNetworkConfig::default()
}

fn refused() -> Vec<Diagnostic> {
    vec![Diagnostic::new("", "no")]
}

struct Mutant {
    sound: Box<dyn SideNetwork>,
    fault: Fault,
    is_loaded: bool,
    instance: u64,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl Mutant {
    fn new(sound: Box<dyn SideNetwork>, fault: Fault, is_loaded: bool) -> Self {
        Self { sound, fault, is_loaded, instance: INSTANCES.fetch_add(1, Ordering::Relaxed) }
    }
}

impl SideNetwork for Mutant {
    fn info(&self) -> &SideNetworkInfo {
        self.sound.info()
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        let report = match (self.sound.train_step(batch, supervision), self.fault) {
            (Err(SideNetworkError::Batch { .. }), Fault::Vague) => {
                let source = "it does not fit".into();
                return Err(SideNetworkError::Engine { engine: "mutant", source });
            }
            (Err(SideNetworkError::Batch { .. }), Fault::Nameless) => {
                let problem = "a target does not fit".to_owned();
                return Err(SideNetworkError::Batch { problem });
            }
            (Err(SideNetworkError::Diverged { step, loss }), Fault::Diverges) => {
                StepReport { step, loss, learning_rate: 0.0 }
            }
            (report, _) => report?,
        };
        let (loss, rows) = (report.loss, batch.layout().rows() as f32);
        Ok(match self.fault {
            Fault::Stuck => StepReport { loss: 1.0, ..report },
            Fault::Miscounts => StepReport { step: report.step + 1, ..report },
            Fault::Restless => StepReport { loss: loss + self.instance as f32, ..report },
            Fault::Eavesdrops => StepReport { loss: loss + rows, ..report },
            _ => report,
        })
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        let outputs = self.sound.predict(batch)?;
        Ok(match self.fault {
            Fault::Biased => outputs + 1.0,
            Fault::Wide => concatenate![Axis(1), outputs, outputs],
            Fault::Drifts if self.is_loaded => outputs + 1.0,
            Fault::Mates => &outputs + outputs.sum(),
            _ => outputs,
        })
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.sound.adapter()
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.sound.checkpoint()
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        match (self.fault, self.sound.restore(checkpoint)) {
            (Fault::Credulous, Err(_)) => Ok(()),
            (Fault::Forgetful, Ok(())) => {
                let (batch, supervision) = Toy::new(tasks(&sound())[0], 20).batch();
                self.sound.train_step(&batch, &supervision).map(drop)
            }
            (_, restored) => restored,
        }
    }
}

#[test]
fn a_sound_network_keeps_every_law() {
    for law in laws(&MutantConfig(Fault::Nothing)) {
        assert_eq!(law.run(), Verdict::Kept, "{law}");
    }
}

#[test]
fn each_fault_breaks_its_law() {
    for (fault, name, said) in [
        (Fault::Picky, "knows_what_it_can_be_trained_on", "all objectives"),
        (Fault::Uncritical, "knows_what_it_can_be_trained_on", "all objectives"),
        (Fault::Biased, "starts_at_zero", "the output starts at zero"),
        (Fault::Wide, "starts_at_zero", "the shape of the output"),
        (Fault::Stuck, "learns", "the loss falls"),
        (Fault::Miscounts, "learns", "steps are counted from 0"),
        (Fault::Restless, "repeats_itself", "give equal losses"),
        (Fault::Seedless, "repeats_itself", "the seed decides"),
        (Fault::Forgetful, "goes_on_from_a_checkpoint", "a checkpoint survives restoring"),
        (Fault::Credulous, "goes_on_from_a_checkpoint", "it is of another run"),
        (Fault::Drifts, "loads_what_it_saved", "it predicts as before"),
        (Fault::Greedy, "takes_a_single_tap", "finds fault with a good context"),
        (Fault::Mates, "batch_mates_do_not_matter", "its batch mates"),
        (Fault::Eavesdrops, "mixes_tokens_or_leaves_them_alone", "the loss does not depend"),
        (Fault::Vague, "refuses_batches_that_do_not_fit", "too few taps"),
        (Fault::Nameless, "refuses_targets_that_do_not_fit", "names the sample"),
        (Fault::Credulous, "refuses_damaged_files", "a cut checkpoint"),
        (Fault::Diverges, "stops_when_the_loss_is_no_number", "loss: NaN"),
    ] {
        let config = MutantConfig(fault);
        let laws = laws(&config);
        let law = laws.iter().find(|law| law.name() == name).unwrap();
        let Verdict::Broken(reason) = law.run() else { panic!("{fault:?} is not found by {name}") };
        assert!(reason.contains(said), "{fault:?}: {said:?} is not in: {reason}");
    }
}
