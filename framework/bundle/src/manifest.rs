//! What a bundle says about itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mobillm_core::backbone::BackboneInfo;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_weights::WeightFormat;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::network::Network;

/// The newest format version. This crate reads all from 1 and writes this one.
pub const FORMAT: u32 = 3;

/// Name of the graph's input with token ids.
pub const INPUT_IDS: &str = "input_ids";
/// Name of the graph's input that tells tokens from padding.
pub const ATTENTION_MASK: &str = "attention_mask";
/// Name of the graph's input with the tokens' segments.
pub const TOKEN_TYPE_IDS: &str = "token_type_ids";
/// Name of the graph's input with the index of each sample's last token.
pub const LAST_TOKENS: &str = "last_tokens";
/// Name of the graph's output that is the model's own prediction.
pub const OWN_PREDICTION: &str = "own_prediction";
/// Name of the graph's output that scores tokens when it is multiplied by their rows of the head's
/// matrix.
pub const OWN_STATE: &str = "own_state";

/// Name of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.json";
/// Name of the graph in a bundle.
pub const GRAPH: &str = "model.onnx";
/// Name of the weights in a bundle.
pub const WEIGHTS: &str = "weights.safetensors";
/// Name of the tokenizer in a bundle.
pub const TOKENIZER: &str = "tokenizer.json";

/// The content of `manifest.json`.
///
/// In format 1 the graph takes `input_ids`, `attention_mask` and `token_type_ids`, int64
/// `[batch, tokens]`, and its values `tap.0` (embedding) to `tap.<layers>` are the hidden states,
/// float `[batch, tokens, hidden]`; `tap.<layers>` is its output. In format 2 the model has a task
/// head: the graph's second output, [`OWN_PREDICTION`], is its logits, float `[batch, own_outputs]`.
/// From format 3 on the graph takes what it needs: [`ATTENTION_MASK`] unless attention is causal,
/// [`TOKEN_TYPE_IDS`] if it tells segments apart, and with a language head [`LAST_TOKENS`], int64
/// `[batch]`, for the second output [`OWN_STATE`], float `[batch, width]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the bundle format.
    pub format: u32,
    /// The model's dimensions; `bundle` is the [`fingerprint`](Self::fingerprint) of the rest.
    pub model: BackboneInfo,
    /// What the graph computes, from format 3 on; `None` for a graph that somebody else exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What the matrices were asked to be stored as; left out for f32.
    #[serde(default = "f32_weights", skip_serializing_if = "is_f32")]
    pub weights: WeightFormat,
    /// Names of the head's outputs, in their order, if the model gives them any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_labels: Option<Vec<String>>,
    /// The token that batches are padded with.
    pub padding: u32,
    /// Every other file of the bundle.
    pub files: BTreeMap<String, FileDigest>,
}

fn f32_weights() -> WeightFormat {
    WeightFormat::F32
}

fn is_f32(format: &WeightFormat) -> bool {
    *format == WeightFormat::F32
}

/// What a bundle is said to be when it is written.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) info: BackboneInfo,
    pub(crate) network: Option<Network>,
    pub(crate) weights: WeightFormat,
    pub(crate) own_labels: Option<Vec<String>>,
    pub(crate) padding: u32,
}

/// Size and content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Bytes.
    pub size: u64,
    /// Digest of the content.
    pub sha256: Fingerprint,
}

impl FileDigest {
    /// Reads the file at `path` through.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut digest = Sha256::new();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => {
                    digest.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
        Ok(Self { size, sha256: Fingerprint(digest.finalize().into()) })
    }
}

impl Manifest {
    /// The manifest of a bundle that consists of `files`; `model.bundle` is filled in.
    pub(crate) fn new(contents: Contents, files: BTreeMap<String, FileDigest>) -> Self {
        let Contents { mut info, network, weights, own_labels, padding } = contents;
        info.bundle = Fingerprint([0; 32]);
        let mut manifest =
            Self { format: FORMAT, model: info, network, weights, own_labels, padding, files };
        manifest.model.bundle = manifest.fingerprint();
        manifest
    }

    /// What in the manifest contradicts itself.
    pub(crate) fn problem(&self) -> Option<String> {
        if let Some(name) =
            [GRAPH, WEIGHTS, TOKENIZER].into_iter().find(|name| !self.files.contains_key(*name))
        {
            return Some(format!("`files` lacks {name}"));
        }
        // JSON would say null, and nobody could read that.
        if let Some(number) = self.network.as_ref().and_then(Network::not_finite) {
            return Some(format!("`network` has the number {number}, expected finite ones"));
        }
        let (own_outputs, labels) =
            (self.model.own_outputs, self.own_labels.as_ref().map(Vec::len));
        if let Some(names) = labels.filter(|_| own_outputs != labels) {
            return Some(format!(
                "`own_labels` has {names} names, `own_outputs` is {own_outputs:?}"
            ));
        }
        if let Some(network) = &self.network
            && (own_outputs, self.model.language_head) != network.answers()
        {
            return Some("`model` contradicts the head of `network`".to_owned());
        }
        let (expected, got) = (self.fingerprint(), self.model.bundle);
        (expected != got).then(|| format!("expected the fingerprint {expected}, got {got}"))
    }

    /// The digest over all else that the manifest says, the digest of every file among it: the name of
    /// this bundle. It is that of the `manifest.json` in which `model.bundle` is all zeros, so equal
    /// wherever and whenever the same version of mobillm imports the same model.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut nameless = self.clone();
        nameless.model.bundle = Fingerprint([0; 32]);
        Fingerprint::of(&nameless.to_json())
    }

    /// The text of `manifest.json`.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings, numbers and maps with string keys only")]
        serde_json::to_vec_pretty(self).expect("a manifest is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_version_1_is_still_read() {
        let written = include_str!("../fixtures/manifest-v1.json");
        let manifest: Manifest = serde_json::from_str(written).unwrap();
        assert_eq!((manifest.format, manifest.model.layers), (1, 6));
        assert_eq!((manifest.model.own_outputs, &manifest.own_labels), (None, &None));
        assert_eq!(manifest.problem(), None);
    }

    #[test]
    fn a_manifest_of_version_2_is_still_read() {
        let written = include_str!("../fixtures/manifest-v2.json");
        let manifest: Manifest = serde_json::from_str(written).unwrap();
        assert_eq!((manifest.format, manifest.model.own_outputs), (2, Some(3)));
        assert_eq!(manifest.own_labels.as_ref().unwrap()[2], "class 2");
        assert_eq!((&manifest.network, manifest.weights), (&None, WeightFormat::F32));
        assert_eq!(manifest.problem(), None);
    }

    #[test]
    fn a_manifest_of_version_3_is_still_read() {
        let written = include_str!("../fixtures/manifest-v3.json");
        let manifest: Manifest = serde_json::from_str(written).unwrap();
        assert_eq!((manifest.format, manifest.weights), (3, WeightFormat::Q4));
        let network = manifest.network.as_ref().unwrap();
        assert_eq!(network.attention.rotary.as_ref().unwrap().frequencies.len(), 8);
        assert_eq!(network.answers(), (None, true));
        assert_eq!(manifest.problem(), None);
    }
}
