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
    #[error("step {step}: the loss is {loss}; lower `training.learning_rate`")]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f32,
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
/// Laws (held by `testkit`): the loss falls on a toy task; equal seeds and batches give equal bits;
/// saving, loading and going on equals going on; before the first step the output is zero (the head
/// starts at zero, so an additive network starts as the backbone); what one engine saves the other loads.
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
}
