//! An imported model on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mobillm_core::backbone::BackboneInfo;
use mobillm_weights::{WeightFormat, WeightsError, WeightsFile};
use ndarray::Array2;
use serde::Deserialize;
use thiserror::Error;

use crate::manifest::{FORMAT, FileDigest, GRAPH, MANIFEST, Manifest, TOKENIZER, WEIGHTS};
use crate::network::{Head, Network};
use crate::tokenizer::BundleTokenizer;

/// Why a bundle cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// There is no bundle, or it lacks a file.
    #[error("{}: no such file; make the bundle with `mobillm import <model-folder> {}`", path.display(), bundle.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The bundle.
        bundle: PathBuf,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The manifest is not one.
    #[error("{}: {problem}; import the model again", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The bundle was written by another version of mobillm.
    #[error(
        "{}: bundle format {got}, this version reads formats 1 to {FORMAT}; import the model again or update mobillm", path.display()
    )]
    Format {
        /// The manifest.
        path: PathBuf,
        /// The format it claims.
        got: u64,
    },
    /// A file is not the one that was imported.
    #[error("{}: {problem}; the file is damaged, import the model again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The expected and the found size or digest.
        problem: String,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Scores of words were asked of a model that has none.
    #[error(
        "{}: the model has no head that scores words; import one that has (`...ForCausalLM`), or ask for none",
        path.display()
    )]
    NoLanguageHead {
        /// The bundle.
        path: PathBuf,
    },
    /// A token is not in the vocabulary.
    #[error("{}: token {token} is not one of the model's {vocabulary}", path.display())]
    Token {
        /// The bundle.
        path: PathBuf,
        /// The token.
        token: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// What stands around a text leaves no room for any of it.
    #[error(
        "{around} has {tokens} tokens, but max_tokens is {max_tokens}, which leaves no room for a text; expected at least {}",
        tokens + 1
    )]
    NoRoom {
        /// What stands around it.
        around: &'static str,
        /// Its tokens.
        tokens: usize,
        /// The limit.
        max_tokens: usize,
    },
    /// The tokenizer cannot be used.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// An imported model: a folder with a manifest, weights, a graph and a tokenizer.
#[derive(Debug, Clone)]
pub struct Bundle {
    path: PathBuf,
    manifest: Manifest,
}

impl Bundle {
    /// Reads the manifest and compares the files' sizes; reads no weights.
    ///
    /// # Errors
    /// If the manifest is missing, damaged or of another format, or a file is missing or of
    /// another size.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let file = path.join(MANIFEST);
        let text = fs::read(&file).map_err(|source| unreadable(path, &file, source))?;
        let bundle = Self::parse(path, &text)?;
        for (name, expected) in &bundle.manifest.files {
            let file = path.join(name);
            let size =
                fs::metadata(&file).map_err(|source| bundle.unreadable(&file, source))?.len();
            if size != expected.size {
                let problem = format!("expected {} bytes, got {size}", expected.size);
                return Err(BundleError::Changed { path: file, problem });
            }
        }
        Ok(bundle)
    }

    /// The bundle at `path` whose `manifest.json` is `text`.
    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, BundleError> {
        /// What every version of the format has in common.
        #[derive(Deserialize)]
        struct Versioned {
            format: u64,
        }

        let file = path.join(MANIFEST);
        let json = |error: serde_json::Error| BundleError::Manifest {
            path: file.clone(),
            problem: error.to_string(),
        };
        let Versioned { format } = serde_json::from_slice(text).map_err(json)?;
        if !(1..=u64::from(FORMAT)).contains(&format) {
            return Err(BundleError::Format { path: file, got: format });
        }
        Self::new(path, serde_json::from_slice(text).map_err(json)?)
    }

    /// The bundle at `path` that says `manifest` of itself, if that does not contradict itself.
    pub(crate) fn new(path: &Path, manifest: Manifest) -> Result<Self, BundleError> {
        match manifest.problem() {
            None => Ok(Self { path: path.to_owned(), manifest }),
            Some(problem) => Err(BundleError::Manifest { path: path.join(MANIFEST), problem }),
        }
    }

    /// Reads every file and compares its sha256.
    ///
    /// # Errors
    /// If a file is not the one that was imported.
    pub fn verify(&self) -> Result<(), BundleError> {
        for (name, expected) in &self.manifest.files {
            let file = self.path.join(name);
            let got = FileDigest::of(&file).map_err(|source| self.unreadable(&file, source))?;
            if got != *expected {
                let problem = format!("expected sha256 {}, got {}", expected.sha256, got.sha256);
                return Err(BundleError::Changed { path: file, problem });
            }
        }
        Ok(())
    }

    /// The model's dimensions and identity.
    pub fn info(&self) -> &BackboneInfo {
        &self.manifest.model
    }

    /// Names of the outputs of the model's own prediction, in their order; `None` if it has no head,
    /// or one whose outputs have no names.
    pub fn own_labels(&self) -> Option<&[String]> {
        self.manifest.own_labels.as_deref()
    }

    /// What the model computes; `None` in a bundle of format 1 or 2 and of a graph that somebody else
    /// exported.
    pub fn network(&self) -> Option<&Network> {
        self.manifest.network.as_ref()
    }

    /// What the matrices were asked to be stored as.
    pub fn weight_format(&self) -> WeightFormat {
        self.manifest.weights
    }

    /// The weights, mapped.
    ///
    /// # Errors
    /// If their file cannot be used.
    pub fn weights(&self) -> Result<WeightsFile, BundleError> {
        Ok(WeightsFile::open(&self.weights_path())?)
    }

    /// The rows of the language head's matrix that score `tokens`, `[tokens, width]`; no other row is
    /// read. A token's score, as the next one, is its row times the graph's output
    /// [`OWN_STATE`](crate::OWN_STATE).
    ///
    /// # Errors
    /// If the model has no such head, a token is not in its vocabulary, or the weights cannot be read.
    pub fn label_rows(&self, tokens: &[u32]) -> Result<Array2<f32>, BundleError> {
        let path = || self.path.clone();
        let name = match self.network().and_then(|network| network.head) {
            Some(Head::Vocabulary { tied: true }) => "embedding.tokens.weight",
            Some(Head::Vocabulary { tied: false }) => "head.vocabulary.weight",
            _ => return Err(BundleError::NoLanguageHead { path: path() }),
        };
        let weights = self.weights()?;
        let matrix = weights.matrix(name)?;
        let width = matrix.columns();
        let mut values = vec![0.0; tokens.len() * width];
        for (&token, row) in tokens.iter().zip(values.chunks_exact_mut(width)) {
            let at = token as usize;
            // The row has the matrix's width, so all that can be wrong is its number.
            matrix.dequantize_rows(at..at + 1, row).map_err(|_| BundleError::Token {
                path: path(),
                token,
                vocabulary: matrix.rows(),
            })?;
        }
        Ok(Array2::from_shape_fn((tokens.len(), width), |(row, at)| values[row * width + at]))
    }

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bundle's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ONNX graph. Its weights are in [`weights_path`](Self::weights_path), beside it.
    pub fn graph_path(&self) -> PathBuf {
        self.path.join(GRAPH)
    }

    /// The weights, in safetensors.
    pub fn weights_path(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    /// The token that batches are padded with.
    pub fn padding(&self) -> u32 {
        self.manifest.padding
    }

    /// The tokenizer; what it makes of a text is at most `max_tokens` long, or the model's own
    /// limit where that is lower or `max_tokens` is `None`.
    ///
    /// # Errors
    /// If the tokenizer's file cannot be used, or `max_tokens` leaves no room for a token of text.
    pub fn tokenizer(&self, max_tokens: Option<usize>) -> Result<BundleTokenizer, BundleError> {
        let limit = self.info().max_tokens;
        let max_tokens = max_tokens.map_or(limit, |tokens| tokens.min(limit));
        BundleTokenizer::open(&self.path.join(TOKENIZER), max_tokens)
    }

    fn unreadable(&self, file: &Path, source: io::Error) -> BundleError {
        unreadable(&self.path, file, source)
    }
}

fn unreadable(bundle: &Path, file: &Path, source: io::Error) -> BundleError {
    let path = file.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => BundleError::Missing { path, bundle: bundle.to_owned() },
        _ => BundleError::Read { path, source },
    }
}
