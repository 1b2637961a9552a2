//! What the tests share.

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::selector::SelectorConfig;

pub(crate) fn config(json: &str) -> Box<dyn SelectorConfig> {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn info(layers: usize, pooling: Pooling) -> BackboneInfo {
    BackboneInfo {
        architecture: "test".into(),
        layers,
        hidden: 3,
        max_tokens: 9,
        vocabulary: 10,
        pooling,
        own_outputs: None,
        language_head: false,
        bundle: Fingerprint::of(b"test"),
    }
}
