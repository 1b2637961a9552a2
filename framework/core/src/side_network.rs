//! The side network: the only thing that is trained, and what the device predicts with.

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::activations::ActivationBatch;
use crate::backbone::Pooling;
use crate::diagnostic::Diagnostic;
use crate::fingerprint::Fingerprint;
use crate::privacy::{Supervision, SupervisionKind};
use crate::sample::Objective;

/// Why a side network could not be built, trained or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SideNetworkError {
    /// The adapter file cannot be used.
    #[error("adapter: {problem}")]
    Adapter {
        /// What is wrong, what was expected and what to do.
        problem: String,
    },
    /// The batch does not fit the network.
    #[error("batch: {problem}")]
    Batch {
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The loss is no longer a number.
    #[error("step {step}: the loss is {loss}; lower `training.optimizer.learning_rate`")]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// An output is not a number.
    #[error(
        "output {output} of the side network is {value}; expected finite numbers: the adapter is \
         damaged, or its training diverged; train again with a lower `training.optimizer.learning_rate`"
    )]
    NotFinite {
        /// The output.
        output: usize,
        /// The offending value.
        value: f32,
    },
    /// The engine failed.
    #[error("{engine}: {source}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// Its error.
        #[source]
        source: crate::BoxError,
    },
    /// A side network that was loaded failed.
    #[error(transparent)]
    Plugin(crate::BoxError),
}

/// AdamW with a one-cycle schedule: linear warm-up, then a cosine to zero. The defaults work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Optimizer {
    /// Peak learning rate.
    #[schemars(range(min = 1e-8, max = 1.0))]
    pub learning_rate: f64,
    /// Decoupled weight decay, on matrices only.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// Decay of the first moment.
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub beta1: f64,
    /// Decay of the second moment.
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub beta2: f64,
    /// Share of all steps over which the learning rate rises from 0.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub warmup: f64,
    /// Largest norm of the gradient; larger ones are scaled down. 0 turns it off.
    #[schemars(range(min = 0.0))]
    pub clip: f64,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            warmup: 0.1,
            clip: 1.0,
        }
    }
}

impl Optimizer {
    /// The learning rate of step `step` (counted from 0) of `steps`.
    pub fn learning_rate_at(&self, step: u64, steps: u64) -> f64 {
        let steps = steps.max(1) as f64;
        let warmup = (self.warmup * steps).round();
        let at = step as f64;
        if at < warmup {
            return self.learning_rate * (at + 1.0) / warmup;
        }
        let progress = ((at - warmup) / (steps - warmup).max(1.0)).min(1.0);
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

/// What a side network is built from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideNetworkContext {
    /// The tapped layers, ascending.
    pub taps: Vec<usize>,
    /// Width of a hidden state.
    pub hidden: usize,
    /// How a sample's rows become one.
    pub pooling: Pooling,
    /// What the output is for.
    pub objective: Objective,
    /// What it is trained on. What older releases wrote has none: it was the truth.
    #[serde(default)]
    pub supervision: SupervisionKind,
    /// How it is trained.
    pub optimizer: Optimizer,
    /// All steps of the run, for the schedule.
    pub steps: u64,
    /// Initial weights are a function of this.
    pub seed: u64,
    /// The bundle whose activations it is trained on.
    pub bundle: Fingerprint,
}

/// What a side network says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SideNetworkInfo {
    /// The engine ("candle", "libtorch").
    pub engine: &'static str,
    /// The architecture ("parallel-adapter").
    pub architecture: String,
    /// Numbers that are trained.
    pub parameters: usize,
    /// The tapped layers it takes, ascending.
    pub taps: Vec<usize>,
    /// Width of a row.
    pub hidden: usize,
    /// What the output is for.
    pub objective: Objective,
    /// The bundle whose activations it is for.
    pub bundle: Fingerprint,
    /// Whether the device adds the output to its own prediction.
    pub additive: bool,
}

impl SideNetworkInfo {
    /// In what this is no network for the bundle, taps and task of `context`, in words; `None` if it is one.
    pub fn misfit(&self, context: &SideNetworkContext) -> Option<String> {
        fn differing<T: PartialEq>(
            what: &str,
            (got, expected): (&T, &T),
            shown: impl Fn(&T) -> String,
        ) -> Option<String> {
            let told = || format!("{what}: got {}, expected {}", shown(got), shown(expected));
            (got != expected).then(told)
        }
        let found = [
            differing("bundle", (&self.bundle, &context.bundle), Fingerprint::short),
            differing("tapped layers", (&self.taps, &context.taps), |taps| format!("{taps:?}")),
            differing("hidden size", (&self.hidden, &context.hidden), usize::to_string),
            differing("task", (&self.objective, &context.objective), Objective::to_string),
        ];
        let found: Vec<String> = found.into_iter().flatten().collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    /// Whether an adapter file that was found is of a network for `context`.
    ///
    /// # Errors
    /// [`SideNetworkError::Adapter`], if it is for others: its answers would mean nothing.
    pub fn check(&self, context: &SideNetworkContext) -> Result<(), SideNetworkError> {
        self.misfit(context).map_or(Ok(()), |misfit| {
            let problem = format!(
                "it was trained with another model or config ({misfit}); take those that it was trained with, \
                 or train again"
            );
            Err(SideNetworkError::Adapter { problem })
        })
    }
}

/// What one training step did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step, counted from 0.
    pub step: u64,
    /// The mean loss over the batch.
    pub loss: f32,
    /// The learning rate that was used.
    pub learning_rate: f64,
}

/// A small network over the taps of a frozen backbone.
///
/// What one engine saves the other loads. What it promises beyond its types are the laws of
/// `mobillm_testkit::side_network`.
/// other loads.
///
/// * `knows_what_it_can_be_trained_on`: the truth or, being additive, differences, for every objective;
///   `check` and `build` agree.
/// * `starts_at_zero`: before the first step the output is exactly zero, so that an additive network answers
///   as the backbone does; `info` is that of the context.
/// * `learns`: the loss of a toy task falls to less than half, and reports follow the schedule.
/// * `repeats_itself`: equal seeds and batches give equal bits, another seed another network.
/// * `goes_on_from_a_checkpoint`: saving, restoring and going on equals going on, to the bit; a checkpoint of
///   another run is refused.
/// * `loads_what_it_saved`: an adapter predicts what was trained, to the bit, and does not train.
/// * `takes_a_single_tap`: one layer is enough.
/// * `batch_mates_do_not_matter`: a sample's answer is the one that it gets alone, but for rounding.
/// * `mixes_tokens_or_leaves_them_alone`: rows that pooling drops change the answer, or else they change
///   nothing in training either.
/// * `refuses_batches_that_do_not_fit`: as an error of its own, and the network is as before.
/// * `refuses_targets_that_do_not_fit`: with the sample's number, and the network is as before.
/// * `refuses_damaged_files`: cut, of another kind or of another network, and the network is as before.
/// * `stops_when_the_loss_is_no_number`: with the step's number, and the network is as before.
pub trait SideNetwork: Send {
    /// The network's dimensions and identity.
    fn info(&self) -> &SideNetworkInfo;

    /// Trains on one batch.
    ///
    /// # Errors
    /// If the batch does not fit or the loss is not finite.
    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError>;

    /// Raw outputs, `[samples, objective.outputs()]`.
    ///
    /// # Errors
    /// If the batch does not fit.
    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError>;

    /// The portable adapter file.
    ///
    /// # Errors
    /// If the engine fails.
    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError>;

    /// The adapter file with the optimizer's state and the step, to go on from.
    ///
    /// # Errors
    /// If the engine fails.
    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError>;

    /// Goes on from a [`checkpoint`](Self::checkpoint) of a network built from the same context.
    ///
    /// # Errors
    /// If the file is damaged or of another network.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError>;
}

/// The config twin of [`SideNetwork`].
#[typetag::serde(tag = "type")]
pub trait SideNetworkConfig: std::fmt::Debug + Send + Sync {
    /// Everything that is wrong with this config for `context`. Pure.
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic>;

    /// A network with its initial weights.
    ///
    /// # Errors
    /// If the engine cannot be used.
    fn build(&self, context: &SideNetworkContext)
    -> Result<Box<dyn SideNetwork>, SideNetworkError>;

    /// The network of an adapter file, to predict with.
    ///
    /// # Errors
    /// If the file is damaged or needs what this engine does not have.
    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_rises_to_the_peak_and_falls_to_zero() {
        let optimizer = Optimizer { learning_rate: 1.0, warmup: 0.1, ..Optimizer::default() };
        let rates: Vec<f64> = (0..100).map(|step| optimizer.learning_rate_at(step, 100)).collect();
        assert!(rates[..10].is_sorted());
        assert!(rates[9..].is_sorted_by(|a, b| a >= b));
        assert_eq!(rates[9], 1.0);
        assert!(rates[99] < 1e-3);
        assert_eq!(optimizer.learning_rate_at(0, 0), 1.0);
    }

    #[test]
    fn a_network_for_something_else_is_told() {
        let context = SideNetworkContext {
            taps: vec![1, 2],
            hidden: 4,
            pooling: Pooling::Mean,
            objective: Objective::Regression,
            supervision: SupervisionKind::Truth,
            optimizer: Optimizer::default(),
            steps: 1,
            seed: 0,
            bundle: Fingerprint([1; 32]),
        };
        let right = SideNetworkInfo {
            engine: "test",
            architecture: "none".to_owned(),
            parameters: 0,
            taps: vec![1, 2],
            hidden: 4,
            objective: Objective::Regression,
            bundle: Fingerprint([1; 32]),
            additive: false,
        };
        right.check(&context).unwrap();
        assert_eq!(right.misfit(&context), None);
        let of = |info: &SideNetworkInfo| info.clone();
        // Only the first eight digits are shown, but all count.
        let mut bundle = [1; 32];
        bundle[31] = 2;
        let objective = Objective::Classification { classes: 2 };
        for (wrong, misfit) in [
            (
                SideNetworkInfo { bundle: Fingerprint([2; 32]), ..of(&right) },
                "bundle: got 02020202, expected 01010101",
            ),
            (
                SideNetworkInfo { bundle: Fingerprint(bundle), ..of(&right) },
                "bundle: got 01010101, expected 01010101",
            ),
            (
                SideNetworkInfo { taps: vec![1], ..of(&right) },
                "tapped layers: got [1], expected [1, 2]",
            ),
            (
                SideNetworkInfo { hidden: 5, objective, ..of(&right) },
                "hidden size: got 5, expected 4; task: got a classification into 2 classes, expected a regression",
            ),
        ] {
            assert_eq!(wrong.misfit(&context).as_deref(), Some(misfit));
            let error = wrong.check(&context).unwrap_err().to_string();
            assert!(error.contains(misfit) && error.contains("train again"), "{error}");
        }
    }
}
