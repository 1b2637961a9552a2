//! A selector for mobillm, `plugin.tag` in a config: every token of every n-th layer.
//!
//! ```
//! use mobillm_core::registry::Plugin;
//! use plugin_ident::PluginTypeConfig;
//!
//! assert_eq!(PluginTypeConfig::TAG, "plugin.tag");
//! ```

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::backbone::{BackboneInfo, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    selectors: [PluginTypeConfig],
}

/// Every token of every n-th layer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTypeConfig {
    /// From one tapped layer to the next, counted back from the last.
    #[schemars(range(min = 1))]
    pub every: usize,
}

impl Default for PluginTypeConfig {
    fn default() -> Self {
        Self { every: 2 }
    }
}

impl Plugin for PluginTypeConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "plugin.tag";
}

#[typetag::serde(name = "plugin.tag")]
impl SelectorConfig for PluginTypeConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        if (1..=info.layers).contains(&self.every) {
            return Vec::new();
        }
        let expected = format!("1 to {}, the layers of the model", info.layers);
        vec![Diagnostic::new("every", format!("{} is out of range", self.every)).expected(expected)]
    }

    fn build(&self, _info: &BackboneInfo) -> Box<dyn Selector> {
        Box::new(PluginType {
            every: self.every.max(1),
        })
    }
}

/// See [`PluginTypeConfig`].
#[derive(Debug, Clone)]
pub struct PluginType {
    every: usize,
}

impl Selector for PluginType {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        (1..=info.layers)
            .filter(|layer| (info.layers - layer) % self.every == 0)
            .collect()
    }

    fn rows(&self, tokens: usize) -> usize {
        tokens
    }

    fn select(&self, tap: &Tap<'_>, mut memory: Vec<f32>) -> Result<Selected, SelectorError> {
        let (samples, tokens, hidden) = tap.hidden.dim();
        if tap.lengths.len() != samples || tap.lengths.iter().any(|&length| length > tokens) {
            let lengths = tap.lengths;
            let problem =
                format!("{samples} samples of {tokens} tokens have the lengths {lengths:?}");
            return Err(SelectorError::Tap {
                layer: tap.layer,
                problem,
            });
        }
        memory.clear();
        for (sample, &length) in tap.hidden.outer_iter().zip(tap.lengths) {
            // What follows is padding, which is never sent.
            for token in sample.outer_iter().take(length) {
                memory.extend(token.iter());
            }
        }
        let layout = Layout::from_counts(tap.lengths.iter().copied());
        Ok(Selected::new(tap.layer, layout, hidden, memory)?)
    }
}
