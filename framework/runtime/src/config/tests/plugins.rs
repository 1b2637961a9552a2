//! A plugin for each slot, known by its options only.

use std::num::NonZeroU32;
use std::path::PathBuf;

use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{PrivacyPolicy, PrivacyPolicyConfig};
use mobillm_core::quantizer::{Quantizer, QuantizerConfig};
use mobillm_core::registry::{Plugin, Registry, Slot};
use mobillm_core::sample::Objective;
use mobillm_core::selector::{Selector, SelectorConfig};
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError,
};
use mobillm_core::transport::{Transport, TransportConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NEVER: &str = "these tests read configs and build nothing";

macro_rules! plugin {
    ($config:ident, $slot:ident, $tag:literal) => {
        impl Plugin for $config {
            const SLOT: Slot = Slot::$slot;
            const TAG: &'static str = $tag;
        }
    };
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Engine {
    /// Threads, or what decides about them.
    #[serde(default)]
    threads: Threads,
    #[serde(default)]
    #[schemars(extend("x-mobillm-path" = true))]
    library: Option<PathBuf>,
}
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Threads {
    Count(NonZeroU32),
    Rule(Rule),
}
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f64,
}
impl Default for Threads {
    fn default() -> Self {
        Self::Rule(Rule::default())
    }
}
plugin!(Engine, Backbone, "test.engine");
#[typetag::serde(name = "test.engine")]
impl BackboneConfig for Engine {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self, _: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        unreachable!("{NEVER}")
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Everything {}
plugin!(Everything, Selector, "test.everything");
#[typetag::serde(name = "test.everything")]
impl SelectorConfig for Everything {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self, _: &BackboneInfo) -> Box<dyn Selector> {
        unreachable!("{NEVER}")
    }
}

/// A component with a component in it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EveryNth {
    #[schemars(range(min = 1))]
    n: usize,
    #[schemars(
        with = "()",
        extend("x-mobillm-slot" = "selector", "default" = { "type": "test.everything" })
    )]
    tokens: Box<dyn SelectorConfig>,
}
plugin!(EveryNth, Selector, "test.every-nth");
#[typetag::serde(name = "test.every-nth")]
impl SelectorConfig for EveryNth {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self, _: &BackboneInfo) -> Box<dyn Selector> {
        unreachable!("{NEVER}")
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Open {}
plugin!(Open, PrivacyPolicy, "test.open");
#[typetag::serde(name = "test.open")]
impl PrivacyPolicyConfig for Open {
    fn check(&self, _: &Objective) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self, _: &Objective) -> Box<dyn PrivacyPolicy> {
        unreachable!("{NEVER}")
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Blocks {
    #[schemars(range(min = 1, max = 4096))]
    block: usize,
    rounding: Option<Rounding>,
    /// Even, which a JSON schema of ours does not say.
    pairs: Pairs,
}
/// How values between two codes are rounded.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Rounding {
    /// To the nearer code.
    Nearest,
    /// By chance.
    Stochastic,
}
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "usize", into = "usize")]
#[schemars(with = "usize")]
struct Pairs(usize);
impl TryFrom<usize> for Pairs {
    type Error = String;
    fn try_from(number: usize) -> Result<Self, String> {
        match number % 2 {
            0 => Ok(Self(number)),
            _ => Err(format!("{number} is odd")),
        }
    }
}
impl From<Pairs> for usize {
    fn from(pairs: Pairs) -> Self {
        pairs.0
    }
}
impl Default for Blocks {
    fn default() -> Self {
        Self { block: 64, rounding: None, pairs: Pairs(2) }
    }
}
plugin!(Blocks, Quantizer, "test.blocks");
#[typetag::serde(name = "test.blocks")]
impl QuantizerConfig for Blocks {
    fn check(&self, _: usize) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self) -> Box<dyn Quantizer> {
        unreachable!("{NEVER}")
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Plain {}
plugin!(Plain, Quantizer, "test.plain");
#[typetag::serde(name = "test.plain")]
impl QuantizerConfig for Plain {
    fn check(&self, _: usize) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self) -> Box<dyn Quantizer> {
        unreachable!("{NEVER}")
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wire {
    address: String,
    #[serde(default)]
    limits: Limits,
}
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    #[schemars(range(max = 9000))]
    mtu: u32,
}
plugin!(Wire, Transport, "test.wire");
#[typetag::serde(name = "test.wire")]
impl TransportConfig for Wire {
    fn check(&self) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn crosses_processes(&self) -> bool {
        true
    }
    fn build(&self) -> Box<dyn Transport> {
        unreachable!("{NEVER}")
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Net {
    shape: Shape,
}
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum Shape {
    Deep {
        #[schemars(range(min = 1))]
        layers: usize,
    },
    Wide {
        width: usize,
    },
}
impl Default for Net {
    fn default() -> Self {
        Self { shape: Shape::Wide { width: 8 } }
    }
}
plugin!(Net, SideNetwork, "test.net");
#[typetag::serde(name = "test.net")]
impl SideNetworkConfig for Net {
    fn check(&self, _: &SideNetworkContext) -> Vec<Diagnostic> {
        Vec::new()
    }
    fn build(&self, _: &SideNetworkContext) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        unreachable!("{NEVER}")
    }
    fn load(&self, _: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        unreachable!("{NEVER}")
    }
}

pub fn registry() -> Registry {
    let mut registry = Registry::new();
    let origin = "tests";
    registry.register::<Engine>(origin).unwrap();
    registry.register::<Everything>(origin).unwrap();
    registry.register::<EveryNth>(origin).unwrap();
    registry.register::<Open>(origin).unwrap();
    registry.register::<Blocks>(origin).unwrap();
    registry.register::<Plain>(origin).unwrap();
    registry.register::<Wire>(origin).unwrap();
    registry.register::<Net>(origin).unwrap();
    registry
}
