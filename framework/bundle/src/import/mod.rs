//! Makes bundles from the model folders of Hugging Face `transformers`.

mod bert;
mod head;
mod sentence;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use prost::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::bundle::{Bundle, BundleError};
use crate::manifest::{FileDigest, GRAPH, MANIFEST, Manifest, TOKENIZER, WEIGHTS};
use crate::onnx::ModelProto;
use crate::tokenizer::BundleTokenizer;
use crate::weights::{self, SourceWeights, Tensor};
use head::{Head, WITHOUT_HEAD};

/// Why a model could not be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
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
    /// The weights are damaged.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
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

/// What an importer reads from a model's `config.json`: dimensions, and how to write the graph.
trait Architecture {
    fn dimensions(&self) -> Dimensions;

    /// The head among `tensors` that answers for a whole text, if there is one.
    fn head(&self, tensors: &HashMap<String, Tensor>) -> Result<Option<Head>, ImportError>;

    fn graph(
        &self,
        tensors: &HashMap<String, Tensor>,
        head: Option<&Head>,
    ) -> Result<ModelProto, ImportError>;
}

struct Dimensions {
    layers: usize,
    hidden: usize,
    vocabulary: usize,
    segments: usize,
    max_tokens: usize,
    padding: Option<u32>,
    /// Which tokens enter the loss unless another file of the model says so.
    pooling: Pooling,
}

type Reader = fn(&Path) -> Result<Box<dyn Architecture>, ImportError>;

/// The importers by `model_type`.
const ARCHITECTURES: &[(&str, Reader)] = &[("bert", bert::read)];

fn known_architectures() -> String {
    let names: Vec<String> = ARCHITECTURES.iter().map(|(name, _)| format!("{name:?}")).collect();
    names.join(", ")
}

/// Imports the model in the folder `source` and writes the bundle `out`, whole or not at all.
///
/// # Errors
/// If `source` is not a folder with `config.json`, safetensors and `tokenizer.json` of a known
/// architecture that fit together, if its head cannot be run, or if `out` exists or cannot be written.
pub fn import(source: &Path, out: &Path) -> Result<Bundle, ImportError> {
    #[derive(Deserialize)]
    struct ModelType {
        model_type: String,
    }

    if out.symlink_metadata().is_ok() {
        return Err(ImportError::Exists { path: out.to_owned() });
    }
    let config = source.join("config.json");
    let ModelType { model_type } = read_json(&config)?;
    let Some((name, reader)) = ARCHITECTURES.iter().find(|(name, _)| *name == model_type) else {
        return Err(ImportError::Architecture { path: config, got: model_type });
    };
    let architecture = reader(&config)?;
    let weights = SourceWeights::open(source)?;
    let dimensions = architecture.dimensions();
    let (info, padding) = describe(source, name, &dimensions)?;

    write_whole(out, |folder| {
        weights.write(&folder.join(WEIGHTS))?;
        let tensors = weights::tensors(&folder.join(WEIGHTS))?;
        let head = architecture.head(&tensors)?;
        let graph = architecture.graph(&tensors, head.as_ref())?;
        write(&folder.join(GRAPH), &graph.encode_to_vec())?;
        write(&folder.join(TOKENIZER), &read(&source.join(TOKENIZER))?)?;
        let mut files = BTreeMap::new();
        for name in [GRAPH, WEIGHTS, TOKENIZER] {
            files.insert(name.to_owned(), sealed(&folder.join(name))?);
        }
        let manifest = folder.join(MANIFEST);
        let info = BackboneInfo { own_outputs: head.as_ref().map(|head| head.outputs), ..info };
        let labels = head.and_then(|head| head.labels);
        write(&manifest, &Manifest::new(info, labels, padding, files).to_json())?;
        sealed(&manifest).map(drop)
    })?;
    Ok(Bundle::open(out)?)
}

/// What the model's own files say of its encoder, and the token to pad with.
fn describe(
    source: &Path,
    architecture: &str,
    dimensions: &Dimensions,
) -> Result<(BackboneInfo, u32), ImportError> {
    let sentence = sentence::read(source)?;
    let limit = sentence.max_tokens.unwrap_or(dimensions.max_tokens);
    let info = BackboneInfo {
        architecture: architecture.to_owned(),
        layers: dimensions.layers,
        hidden: dimensions.hidden,
        max_tokens: limit.min(dimensions.max_tokens),
        vocabulary: dimensions.vocabulary,
        pooling: sentence.pooling.unwrap_or(dimensions.pooling),
        own_outputs: None,
        language_head: false,
        bundle: Fingerprint([0; 32]),
    };
    let padding = check_tokenizer(&source.join(TOKENIZER), &info, dimensions)?;
    Ok((info, padding))
}

/// The token to pad with, if the tokenizer at `path` fits the model.
fn check_tokenizer(
    path: &Path,
    info: &BackboneInfo,
    dimensions: &Dimensions,
) -> Result<u32, ImportError> {
    let wrong = |problem: String| ImportError::Tokenizer { path: path.to_owned(), problem };
    if !path.exists() {
        return Err(ImportError::Missing {
            path: path.to_owned(),
            remedy: "save it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`",
        });
    }
    let tokenizer = BundleTokenizer::open(path, info.max_tokens)?;
    if tokenizer.vocabulary() > info.vocabulary {
        return Err(wrong(format!(
            "has token ids up to {}, but the model embeds {} tokens; it is not this model's",
            tokenizer.vocabulary() - 1,
            info.vocabulary
        )));
    }
    let pair = tokenizer.encode("a", Some("b"))?.tokens;
    if let Some(segment) = pair.segments.iter().find(|&&id| id as usize >= dimensions.segments) {
        return Err(wrong(format!(
            "puts the second text of a pair into segment {segment}, but the model has {}",
            dimensions.segments
        )));
    }
    let padding = dimensions.padding.or_else(|| tokenizer.id("[PAD]")).ok_or_else(|| {
        wrong("has no token [PAD], and config.json has no `pad_token_id`".to_owned())
    })?;
    if padding as usize >= info.vocabulary {
        let vocabulary = info.vocabulary;
        return Err(wrong(format!(
            "pads with token {padding}, but the model embeds {vocabulary} tokens"
        )));
    }
    Ok(padding)
}

/// Lets `fill` write into a new folder beside `out` and then moves it there.
fn write_whole(
    out: &Path,
    fill: impl FnOnce(&Path) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let failed = |source| ImportError::Write { path: out.to_owned(), source };
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed)?;
    let scratch =
        tempfile::Builder::new().prefix(".importing-").tempdir_in(parent).map_err(failed)?;
    // A folder within: the scratch folder itself can be read by its owner only.
    let folder = scratch.path().join("bundle");
    fs::create_dir(&folder).map_err(failed)?;
    fill(&folder)?;
    sync_folder(&folder).map_err(failed)?;
    fs::rename(&folder, out).map_err(failed)?;
    sync_folder(parent).map_err(failed)
}

/// Makes sure that the names in `folder` survive a power cut, where the system has a way to.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    fs::write(path, bytes).map_err(|source| ImportError::Write { path: path.to_owned(), source })
}

/// The digest of the file at `path`, once it is on disk.
fn sealed(path: &Path) -> Result<FileDigest, ImportError> {
    let digest = || {
        File::open(path)?.sync_all()?;
        FileDigest::of(path)
    };
    digest().map_err(|source| ImportError::Write { path: path.to_owned(), source })
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
