//! The backbone bundle: one frozen model, imported once, read by every engine.
//!
//! A bundle is a folder:
//!
//! ```text
//! manifest.json         format version, dimensions, pooling rule, padding token, size and sha256 of the files below
//! weights.safetensors   the weights, once
//! model.onnx            the graph; its weights are references (offset, length) into weights.safetensors
//! tokenizer.json        the model's own tokenizer
//! ```
//!
//! [`import()`] makes one from a Hugging Face folder, a GGUF file or a graph that somebody else
//! exported, without Python; it is written whole or not at all. [`Bundle::open`] reads the manifest and
//! no weights, so that a pipeline can be checked before anything is loaded; [`Bundle::verify`] reads
//! everything.
//!
//! What is computed is described twice: as data, the [`Network`](network::Network) of
//! [`Bundle::network`], and as a graph, written from it. In the graph, the value `tap.i` is the residual
//! stream, `[batch, tokens, hidden]`: 0 is the embedding, i the output of layer i. An engine takes what
//! it needs from there; [`onnx`] has the messages to rewrite the graph with. The matrices are stored in
//! the [`WeightFormat`] that the import was asked for.
//!
//! Some models have an answer of their own:
//!
//! - A classifier (`BertForSequenceClassification`): the graph's output [`OWN_PREDICTION`] is its logits,
//!   `[batch, own_outputs]`, or the one output of a regression; [`Bundle::own_labels`] tells what they are
//!   called.
//! - A language model (`LlamaForCausalLM`): a token's score as the next one is the graph's output
//!   [`OWN_STATE`] times a row of the head's matrix, which [`Bundle::label_rows`] reads for the few tokens
//!   that matter.
//!
//! Heads of other tasks (masked words, labels of tokens) are left out.
//!
//! A bundle's name is its fingerprint ([`Manifest::fingerprint`]): adapters are trained on the
//! activations of one bundle and refuse others.
//!
//! # Example
//!
//! ```
//! use mobillm_bundle::fixture::TinyBert;
//! use mobillm_bundle::{ImportOptions, import};
//!
//! let folder = tempfile::tempdir()?;
//! let (model, out) = (folder.path().join("model"), folder.path().join("bundle"));
//! TinyBert::default().write(&model)?;
//! let bundle = import(&model, &out, &ImportOptions::default())?;
//! assert_eq!(bundle.info().layers, 3);
//!
//! let tokenizer = bundle.tokenizer(Some(6))?;
//! let encoded = tokenizer.encode("the tap gets out early", None)?;
//! assert_eq!(encoded.tokens.ids.len(), 6);
//! assert_eq!(encoded.truncated, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
#[cfg(feature = "fixture")]
pub mod fixture;
mod graph;
mod import;
mod manifest;
pub mod network;
mod storage;
mod tokenizer;
mod writer;

/// The ONNX format as messages, to rewrite a graph with.
pub use mobillm_onnx::messages as onnx;
pub use mobillm_weights::WeightFormat;

pub use bundle::{Bundle, BundleError};
pub use import::{ImportError, ImportOptions, import};
pub use manifest::{
    ATTENTION_MASK, FORMAT, FileDigest, INPUT_IDS, LAST_TOKENS, Manifest, OWN_PREDICTION,
    OWN_STATE, TOKEN_TYPE_IDS,
};
pub use tokenizer::{BundleTokenizer, Encoded};
