//! Plugins that do everything wrong, for the tests of those who load plugins.
//!
//! This library has, in every slot, `hostile.panics`, which panics in the call that its option `at` names, and the
//! quantizer `hostile.hangs`, which does not come back from the call that its own `at` names. What the kit for Rust authors makes impossible is in
//! `c/hostile.c`: lies about shapes and strides, texts that are none, memory that is freed twice.
//!
//! What is not to panic does the least that its slot lets it: zeros go in, zeros come out. Nobody should use it.

mod fuse;
mod hangs;
mod panics;

pub use hangs::HangsConfig;
pub use panics::{
    PanickingBackboneConfig, PanickingPolicyConfig, PanickingQuantizerConfig,
    PanickingSelectorConfig, PanickingSideNetworkConfig, PanickingTransportConfig,
};

mobillm_plugin::export! {
    backbones: [PanickingBackboneConfig],
    selectors: [PanickingSelectorConfig],
    privacy_policies: [PanickingPolicyConfig],
    quantizers: [PanickingQuantizerConfig, HangsConfig],
    transports: [PanickingTransportConfig],
    side_networks: [PanickingSideNetworkConfig],
}
