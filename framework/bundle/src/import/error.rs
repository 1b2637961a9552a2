//! Why a model could not be imported.

use std::io;
use std::path::{Path, PathBuf};

use mobillm_onnx::FileError;
use mobillm_weights::WeightsError;
use thiserror::Error;

use super::head::WITHOUT_HEAD;
use super::hugging_face::known_architectures;
use crate::bundle::BundleError;

/// Why a model could not be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The source is of no kind that is known.
    #[error(
        "{}: expected the folder of a model of Hugging Face `transformers`, a .gguf file or an .onnx file",
        path.display()
    )]
    Kind {
        /// The source.
        path: PathBuf,
    },
    /// Values of a graph were named for a model that is none.
    #[error(
        "{}: taps are named for .onnx files only, where the residual stream has to be found; leave \
         them out",
        path.display()
    )]
    Taps {
        /// The source.
        path: PathBuf,
    },
    /// The model folder lacks a file.
    #[error("{}: no such file; {remedy}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file of the model cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A JSON file of the model is not what it should be.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// There is no importer for the model's architecture.
    #[error(
        "{}: `model_type` is {got:?}, but only {} can be imported", path.display(), known_architectures()
    )]
    Architecture {
        /// The config that names it.
        path: PathBuf,
        /// The name.
        got: String,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor contradicts the config.
    #[error("weights: tensor {name} {problem}; config.json and weights are not of one model")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The model's own task head is not whole, or not of a known shape.
    #[error("weights: the task head {problem}; {WITHOUT_HEAD}")]
    Head {
        /// What is wrong and what was expected.
        problem: String,
    },
    /// An ONNX graph cannot be used.
    #[error("{}: {problem}", path.display())]
    Graph {
        /// The graph's file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The files of an ONNX model cannot be used.
    #[error(transparent)]
    OnnxFile(#[from] FileError),
    /// The tokenizer does not fit the model.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Something is at the place of the bundle already.
    #[error("{}: exists already; remove it or choose another name for the bundle", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The bundle cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// What was written is not a bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl ImportError {
    /// The same of `to`, if it is about something in `from`, which will not be there any more.
    pub(crate) fn moved(mut self, from: &Path, to: &Path) -> Self {
        if let Self::Write { path, .. }
        | Self::Weights(
            WeightsError::Write { path, .. }
            | WeightsError::Read { path, .. }
            | WeightsError::Damaged { path, .. }
            | WeightsError::Tensor { path, .. },
        ) = &mut self
            && let Ok(inside) = path.strip_prefix(from)
        {
            *path = to.join(inside);
        }
        self
    }
}
