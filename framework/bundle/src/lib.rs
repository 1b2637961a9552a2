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
//! [`import()`] makes one from the folder of a Hugging Face model, without Python; it is written
//! whole or not at all. [`Bundle::open`] reads the manifest and no weights, so that a pipeline can
//! be checked before anything is loaded; [`Bundle::verify`] reads everything.
//!
//! In the graph, the value `tap.i` is the residual stream, `[batch, tokens, hidden]`: 0 is the
//! embedding, i the output of layer i. An engine takes what it needs from there; [`onnx`] has the
//! messages to rewrite the graph with.
//!
//! If the model has a task head that answers for a whole text (`BertForSequenceClassification`), the
//! graph's output [`OWN_PREDICTION`] is its logits, `[batch, own_outputs]`, or the one output of a
//! regression; [`Bundle::own_labels`] tells what they are called. Heads of other tasks (masked words,
//! labels of tokens) are copied with the weights and not run: such a model has no own prediction.
//!
//! A bundle's name is its fingerprint ([`Manifest::fingerprint`]): adapters are trained on the
//! activations of one bundle and refuse others.
//!
//! # Example
//!
//! ```
//! use mobillm_bundle::fixture::TinyBert;
//!
//! let folder = tempfile::tempdir()?;
//! TinyBert::default().write(&folder.path().join("model"))?;
//! let bundle =
//!     mobillm_bundle::import(&folder.path().join("model"), &folder.path().join("bundle"))?;
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
pub mod onnx;
mod tokenizer;
mod weights;

pub use bundle::{Bundle, BundleError};
pub use import::{ImportError, import};
pub use manifest::{FORMAT, FileDigest, Manifest, OWN_PREDICTION};
pub use tokenizer::{BundleTokenizer, Encoded};
