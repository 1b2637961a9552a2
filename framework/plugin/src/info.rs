//! A model's info as it crosses: what a newer side says beside is no error, as it is in a bundle's manifest.

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use serde::Deserialize;

/// [`BackboneInfo`], read from JSON.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Info(#[serde(with = "Fields")] pub(crate) BackboneInfo);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_passed_over() {
        let info = BackboneInfo {
            architecture: "test".into(),
            layers: 4,
            hidden: 6,
            max_tokens: 16,
            vocabulary: 100,
            pooling: Pooling::LastToken,
            own_outputs: None,
            language_head: true,
            bundle: Fingerprint::of(b"test"),
        };
        let mut json = serde_json::json!(info);
        json["experts"] = 8.into();
        assert_eq!(serde_json::from_value::<Info>(json.clone()).unwrap().0, info);
        json["layers"] = "four".into();
        assert!(serde_json::from_value::<Info>(json).is_err());
    }
}
