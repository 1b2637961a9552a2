//! summary.json: the figures of a run, versioned. Version 1 had no `held_out_forwarded` and no
//! `emulated`; it is still read.

use mobillm_core::transport::Emulated;
use mobillm_task::Scores;
use serde::{Deserialize, Serialize};

/// The version of summary.json.
pub const FORMAT: u32 = 2;

/// The figures of a run. Seconds and bytes are sums over all sessions of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// [`FORMAT`].
    pub format: u32,
    /// The config's name.
    pub variant: String,
    /// How well the held-out rows are answered.
    pub eval: EvalSummary,
    /// What the device spent.
    pub device: DeviceSummary,
    /// What crossed the link, frames and the transport's own bytes.
    pub link: LinkSummary,
    /// What the server spent.
    pub server: ServerSummary,
    /// The same per epoch.
    pub epochs: Vec<EpochSummary>,
    /// From start to end.
    pub wall_seconds: f64,
}

/// How well the held-out rows are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSummary {
    /// The metric's name.
    pub metric: String,
    /// Without any training: the device's own prediction, which is that of the backbone's head, or the
    /// most frequent class (the mean target) of the training rows.
    pub before: f64,
    /// After the last epoch.
    pub after: f64,
    /// Mean of the F1 of all classes after the last epoch; `None` for a regression.
    pub macro_f1: Option<f64>,
    /// F1 of the task's `positive` label after the last epoch, where there is one.
    pub positive_f1: Option<f64>,
}

/// What the device spent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSummary {
    /// Peak resident memory of the device's process; `None` where it shares one with the server.
    pub peak_rss_bytes: Option<u64>,
    /// Forward passes over training rows, selection, policy and quantization included, waiting for
    /// the link not.
    pub forward_seconds: f64,
    /// The held-out rows' forward passes and the evaluation of every epoch.
    pub eval_seconds: f64,
    /// Training samples that were run forward: once per epoch, or once where the server keeps them.
    pub samples_forwarded: u64,
    /// Held-out rows that were run forward: once per session.
    #[serde(default)]
    pub held_out_forwarded: u64,
}

/// What crossed the link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSummary {
    /// From device to server.
    pub bytes_up: u64,
    /// From server to device.
    pub bytes_down: u64,
    /// Bytes up, per sample run forward.
    pub bytes_up_per_sample: f64,
    /// What an emulated link has cost; these seconds are part of the wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<Emulated>,
}

/// What the server spent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSummary {
    /// Decoding and training, without waiting.
    pub train_seconds: f64,
    /// Steps that were trained.
    pub steps: u64,
}

/// One epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochSummary {
    /// Wall time from the epoch's first micro-batch, or from the epoch before, to its evaluation.
    pub seconds: f64,
    /// The device's forward passes.
    pub device_seconds: f64,
    /// Bytes from device to server.
    pub bytes_up: u64,
    /// Mean over the epoch's steps.
    pub train_loss: f64,
    /// The held-out rows, after the epoch.
    pub eval: Scores,
}
