//! What crosses as JSON, where that is not just how core writes it. In a config a name that nobody knows is a mistake; here it is of a newer side, and
//! is passed over. So what core reads strictly has a twin here.

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::sample;
use mobillm_core::side_network::{self, SideNetworkContext};
use mobillm_core::transport::Emulated;
use serde::{Deserialize, Serialize};

/// [`BackboneInfo`], read from JSON.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Info(#[serde(with = "Fields")] pub(crate) BackboneInfo);

/// [`Objective`](sample::Objective), read from JSON.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Task(#[serde(with = "Objective")] pub(crate) sample::Objective);

/// [`SideNetworkContext`], read from JSON.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Training(#[serde(with = "TrainingFields")] pub(crate) SideNetworkContext);

/// What a transport says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LinkInfo {
    pub(crate) overhead: usize,
    pub(crate) emulated: Option<Cost>,
}

/// [`Emulated`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) up_seconds: f64,
    pub(crate) down_seconds: f64,
    pub(crate) lost_packets: u64,
}

impl From<Emulated> for Cost {
    fn from(Emulated { up_seconds, down_seconds, lost_packets }: Emulated) -> Self {
        Self { up_seconds, down_seconds, lost_packets }
    }
}

#[derive(Deserialize)]
#[serde(remote = "BackboneInfo")]
struct Fields {
    architecture: String,
    layers: usize,
    hidden: usize,
    max_tokens: usize,
    vocabulary: usize,
    pooling: Pooling,
    own_outputs: Option<usize>,
    #[serde(default)]
    language_head: bool,
    bundle: Fingerprint,
}

#[derive(Deserialize)]
#[serde(remote = "sample::Objective", rename_all = "kebab-case")]
enum Objective {
    Classification { classes: usize },
    Regression,
}

#[derive(Deserialize)]
#[serde(remote = "side_network::Optimizer")]
struct Optimizer {
    learning_rate: f64,
    weight_decay: f64,
    beta1: f64,
    beta2: f64,
    warmup: f64,
    clip: f64,
}

#[derive(Deserialize)]
#[serde(remote = "SideNetworkContext")]
struct TrainingFields {
    taps: Vec<usize>,
    hidden: usize,
    pooling: Pooling,
    #[serde(with = "Objective")]
    objective: sample::Objective,
    supervision: SupervisionKind,
    #[serde(with = "Optimizer")]
    optimizer: side_network::Optimizer,
    steps: u64,
    seed: u64,
    bundle: Fingerprint,
}
