//! Every token of every layer.

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::backbone::{BackboneInfo, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::padding;

/// Every token of every layer (MobiLLM).
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AllConfig {
    /// Also tap layer 0, the embedding.
    pub embedding: bool,
}

impl Plugin for AllConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "all";
}

#[typetag::serde(name = "all")]
impl SelectorConfig for AllConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, _: &BackboneInfo) -> Box<dyn Selector> {
        Box::new(All { embedding: self.embedding })
    }
}

/// Selects every token of every layer.
#[derive(Debug, Clone)]
pub struct All {
    pub(crate) embedding: bool,
}

impl Selector for All {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        (usize::from(!self.embedding)..=info.layers).collect()
    }

    fn rows(&self, tokens: usize) -> usize {
        tokens
    }

    fn select(&self, tap: &Tap<'_>, mut memory: Vec<f32>) -> Result<Selected, SelectorError> {
        let samples = padding::samples(tap)?;
        let layout = Layout::from_counts(tap.lengths.iter().copied());
        let hidden = tap.hidden.dim().2;
        memory.clear();
        memory.reserve(layout.rows() * hidden);
        samples.for_each(|tokens| padding::append(&mut memory, tokens));
        Ok(Selected::new(tap.layer, layout, hidden, memory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_selector() {
        for embedding in [false, true] {
            mobillm_testkit::selector::conformance(&AllConfig { embedding });
        }
    }

    #[test]
    fn the_memory_is_used_again() {
        let hidden = ndarray::Array3::<f32>::zeros((1, 4, 8));
        let tap = Tap { layer: 1, hidden: hidden.view(), lengths: &[3] };
        let memory = Vec::with_capacity(100);
        let at = memory.as_ptr();
        let memory = All { embedding: false }.select(&tap, memory).unwrap().into_values();
        assert_eq!((memory.as_ptr(), memory.len()), (at, 24));
    }
}
