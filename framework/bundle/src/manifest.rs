//! What a bundle says about itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mobillm_core::backbone::BackboneInfo;
use mobillm_core::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The newest format version. This crate reads all from 1, and writes a bundle in the oldest that can
/// say what it is, so that a new format alone gives no model a new name.
pub const FORMAT: u32 = 2;

/// Name of the graph's output that is the model's own prediction.
pub const OWN_PREDICTION: &str = "own_prediction";

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the bundle format.
    pub format: u32,
    /// The model's dimensions; `bundle` is the [`fingerprint`](Self::fingerprint) of the rest.
    pub model: BackboneInfo,
    /// Names of the head's outputs, in their order, if the model gives them any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_labels: Option<Vec<String>>,
    /// The token that batches are padded with.
    pub padding: u32,
    /// Every other file of the bundle.
    pub files: BTreeMap<String, FileDigest>,
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
    /// A manifest of the oldest format that can hold it; `model.bundle` is filled in.
    pub(crate) fn new(
        mut model: BackboneInfo,
        own_labels: Option<Vec<String>>,
        padding: u32,
        files: BTreeMap<String, FileDigest>,
    ) -> Self {
        model.bundle = Fingerprint([0; 32]);
        let format = if model.own_outputs.is_some() { 2 } else { 1 };
        let mut manifest = Self { format, model, own_labels, padding, files };
        manifest.model.bundle = manifest.fingerprint();
        manifest
    }

    /// The digest over format, dimensions, labels, padding and the digest of every file: the name of
    /// this bundle, equal wherever and whenever the same model was imported.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut nameless = self.clone();
        nameless.model.bundle = Fingerprint([0; 32]);
        Fingerprint::of(&nameless.to_json())
    }

    /// The text of `manifest.json`.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings, numbers and maps with string keys only")]
        serde_json::to_vec_pretty(self).expect("a manifest has no value that JSON cannot hold")
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
        assert_eq!(manifest.fingerprint(), manifest.model.bundle);
    }

    #[test]
    fn a_manifest_of_version_2_is_still_read() {
        let written = include_str!("../fixtures/manifest-v2.json");
        let manifest: Manifest = serde_json::from_str(written).unwrap();
        assert_eq!((manifest.format, manifest.model.own_outputs), (2, Some(3)));
        assert_eq!(manifest.own_labels.as_ref().unwrap()[2], "class 2");
        assert_eq!(manifest.fingerprint(), manifest.model.bundle);
    }
}
