//! Makes bundles of foreign models.
//!
//! ```text
//! a folder with config.json   hugging_face: a family's importer    -+
//! a .gguf file                gguf                                  +-> Source -> writer -> bundle
//! an .onnx graph              onnx: the graph stays, taps are added ---------------------> bundle
//! ```
//!
//! A [`Source`](source::Source) is a model in our own terms: a [`Network`](crate::network::Network) and
//! its tensors by the names that go with it, each read when it is written. [`layout`] says which tensors a
//! network has. An importer of a family of Hugging Face says what network a `config.json` describes
//! and what the family calls the tensors; what it does not know it refuses.

mod bert;
mod checkpoint;
mod config;
mod distilbert;
mod error;
pub(crate) mod gguf;
mod gpt2;
mod head;
pub(crate) mod hugging_face;
pub(crate) mod layout;
mod llama;
mod names;
mod onnx;
mod opt;
mod rope;
mod sentence;
pub(crate) mod source;

use std::fs;
use std::io;
use std::path::Path;

use mobillm_weights::WeightFormat;
use serde::de::DeserializeOwned;

use crate::bundle::Bundle;
use crate::writer;
pub use error::ImportError;

/// How a model is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The format of the matrices; `None` keeps that of a GGUF file, as near as may be, and is f32 for
    /// other models.
    pub weights: Option<WeightFormat>,
    /// For an ONNX graph whose residual stream is not found: the names of its values, the embedding
    /// first.
    pub taps: Vec<String>,
}

/// Imports the model `source`, a folder of Hugging Face, a GGUF file or an ONNX graph, and writes the
/// bundle `out`, whole or not at all.
///
/// # Errors
/// If `source` is none of them, of an architecture that is not known, or its files are damaged or do not
/// fit together; if it has no weights in the format, tokenizer or residual stream that is needed; or if
/// `out` exists or cannot be written.
pub fn import(source: &Path, out: &Path, options: &ImportOptions) -> Result<Bundle, ImportError> {
    // A folder may be called anything.
    let is = |kind: &str| {
        !source.is_dir() && source.extension().is_some_and(|name| name.eq_ignore_ascii_case(kind))
    };
    if is("onnx") {
        return onnx::import(source, out, options);
    }
    if !options.taps.is_empty() {
        return Err(ImportError::Taps { path: source.to_owned() });
    }
    let model = match source {
        _ if is("gguf") => gguf::model(source)?,
        _ if source.is_file() => return Err(ImportError::Kind { path: source.to_owned() }),
        _ => hugging_face::model(source)?,
    };
    writer::write(model, out, options.weights)
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ImportError::Missing {
            path: path.to_owned(),
            remedy: "expected the folder of a model saved by Hugging Face `transformers`",
        },
        _ => ImportError::Read { path: path.to_owned(), source },
    })
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ImportError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| ImportError::Config { path: path.to_owned(), problem: error.to_string() })
}
