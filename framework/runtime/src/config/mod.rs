//! Configs: TOML files in which a task, a device, a link and a server are described.
//!
//! ```toml
//! schema = 1                      # version of this layout
//! extends = "base.toml"           # optional: what stands here is laid over that file
//!
//! [task]                          # data, columns, labels
//! name = "sms-spam"
//! train = "sms.tsv"               # relative to the file in which it stands
//! columns = { text = "text", label = "label" }
//! labels = ["ham", "spam"]
//!
//! [device]
//! bundle = "pull:minilm"
//! quantizer = { type = "nf4", block = 64 }    # a component: `type` names a plugin
//!
//! [plugins]
//! load = ["libacme_codes.so"]     # optional: dynamic libraries whose plugins may be named, too
//! ```
//!
//! [`Config::load`] reads a file, lays it over its bases, lays every `--set a.b=c` over that, fills in
//! what nobody wrote and returns a [`Loaded`], or else [`ConfigErrors`]: *all* mistakes, each with
//! file, line, key path and what was expected. Nothing is opened but the config files themselves and the
//! libraries that they name.
//!
//! How it works, a file each: a text becomes a `tree` in which every value knows its place; `layers`
//! are laid over each other; `plugins` are loaded; `check` holds the tree against the JSON `schema` of these structs and of
//! each plugin; what is left is deserialized: a [`Draft`] is the outcome, sound or with its mistakes, and `load` gives
//! the sound one. What only the model and the data show comes later, in [`check`](crate::check), in the same form.

mod check;
mod draft;
mod errors;
mod expected;
mod layers;
mod load;
mod plugins;
pub mod reference;
mod schema;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::num::NonZeroUsize;

use mobillm_core::backbone::BackboneConfig;
use mobillm_core::privacy::PrivacyPolicyConfig;
use mobillm_core::quantizer::QuantizerConfig;
use mobillm_core::selector::SelectorConfig;
use mobillm_core::side_network::{Optimizer, SideNetworkConfig};
use mobillm_core::transport::TransportConfig;
use mobillm_store::StoreConfig;
use mobillm_task::config::TaskConfig;
use mobillm_task::schedule::MicroBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use draft::Draft;
pub(crate) use draft::Origin;
pub use errors::{ConfigErrors, Mistake};
pub use load::{Loaded, Location};
pub use plugins::{Plugins, PluginsConfig};
pub use schema::{PATH_KEYWORD, SLOT_KEYWORD, schema};
pub use source::Place;

/// The version of the layout that is written.
pub const SCHEMA: u64 = 1;

/// The versions that are read.
const KNOWN_SCHEMAS: [u64; 1] = [SCHEMA];

/// Everything about a run, all defaults filled in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["task", "device"]))]
pub struct Config {
    /// What is loaded beside what is linked in.
    #[serde(default, skip_serializing_if = "PluginsConfig::is_default")]
    #[schemars(extend("default" = {}))]
    pub plugins: PluginsConfig,
    /// What is learnt and from which rows.
    pub task: TaskConfig,
    /// The frozen model and what leaves the device.
    pub device: DeviceConfig,
    /// Between device and server.
    #[schemars(extend("default" = {}))]
    pub link: LinkConfig,
    /// What is trained.
    #[schemars(extend("default" = {}))]
    pub server: ServerConfig,
    /// How it is trained.
    #[schemars(extend("default" = {}))]
    pub training: TrainingConfig,
}

/// The `[device]` table: the frozen model and what leaves the device.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["bundle"]))]
pub struct DeviceConfig {
    /// The frozen model: a bundle's folder relative to this file, or `pull:NAME`.
    pub bundle: String,
    /// Longest sample in tokens, marks included; longer texts are cut. Without it, the model's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4))]
    pub max_tokens: Option<usize>,
    /// Most samples of one forward pass.
    #[serde(default = "default_micro_batch")]
    #[schemars(range(min = 1, max = 4096))]
    pub micro_batch: usize,
    /// Most tokens of one forward pass, padding counted, which bounds the device's memory whatever the
    /// batch. A longer sample goes alone.
    #[serde(default = "default_micro_batch_tokens")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub micro_batch_tokens: usize,
    /// Steps whose samples are sorted by length together, so that little padding is computed.
    #[serde(default = "default_window")]
    #[schemars(range(min = 1, max = 4096))]
    pub window: usize,
    /// The engine that runs the frozen model.
    #[schemars(schema_with = "schema::backbone")]
    pub backbone: Box<dyn BackboneConfig>,
    /// Which layers and tokens are used.
    #[schemars(schema_with = "schema::selector")]
    pub selector: Box<dyn SelectorConfig>,
    /// What the device predicts by itself, before anything is trained.
    #[serde(default)]
    pub own_prediction: OwnPrediction,
    /// What the server is told about a sample.
    #[schemars(schema_with = "schema::privacy")]
    pub privacy: Box<dyn PrivacyPolicyConfig>,
    /// How activations become bytes.
    #[schemars(schema_with = "schema::quantizer")]
    pub quantizer: Box<dyn QuantizerConfig>,
    /// The engine that predicts with the trained side network.
    #[schemars(schema_with = "schema::side_network")]
    pub predictor: Box<dyn SideNetworkConfig>,
}

impl DeviceConfig {
    /// What goes forward together.
    pub fn micro_batch(&self) -> MicroBatch {
        let size = |size| NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
        MicroBatch { rows: size(self.micro_batch), tokens: size(self.micro_batch_tokens) }
    }
}

/// What a device predicts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OwnPrediction {
    /// What the model's task head says or, of a language model, its scores of `task.prompt.label_words`;
    /// without either, the prior. A regression head is taken to speak the unit of the data.
    #[default]
    Head,
    /// How frequent each label is among the training rows, or the mean of their targets, whether the
    /// model has a head or not.
    Prior,
}

fn default_micro_batch() -> usize {
    16
}

fn default_micro_batch_tokens() -> usize {
    384
}

fn default_window() -> usize {
    8
}

/// The `[link]` table: between device and server.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = []))]
pub struct LinkConfig {
    /// What carries frames.
    #[schemars(schema_with = "schema::transport")]
    pub transport: Box<dyn TransportConfig>,
    /// Steps that the device may be ahead of what the server has trained or, with a store, stored.
    #[serde(default = "default_ahead")]
    #[schemars(range(min = 1, max = 65536))]
    pub ahead: usize,
}

fn default_ahead() -> usize {
    32
}

/// The `[server]` table: what is trained.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = []))]
pub struct ServerConfig {
    /// The engine and architecture of the side network.
    #[schemars(schema_with = "schema::side_network")]
    pub side_network: Box<dyn SideNetworkConfig>,
    /// Whether and where the server keeps samples, so that each crosses the link once.
    #[serde(default)]
    pub store: StoreConfig,
    /// Steps between two checkpoints of the run.
    #[serde(default = "default_checkpoint_steps")]
    #[schemars(range(min = 1))]
    pub checkpoint_steps: usize,
}

fn default_checkpoint_steps() -> usize {
    200
}

/// The `[training]` table: how the side network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Times that each training row is used.
    #[serde(default = "default_epochs")]
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: usize,
    /// Samples of one training step.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 65536))]
    pub batch: usize,
    /// The order of the rows and the initial weights are a function of it.
    #[serde(default)]
    pub seed: u64,
    /// How weights move.
    #[serde(default)]
    pub optimizer: Optimizer,
}

fn default_epochs() -> usize {
    4
}

fn default_batch() -> usize {
    16
}
