//! Weights in safetensors: read from a model folder, written once into a bundle.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::Deserialize;

use crate::import::ImportError;

/// The weights of a model folder: one safetensors file, or several with an index.
pub(crate) struct SourceWeights {
    shards: Vec<(PathBuf, Mmap)>,
}

impl SourceWeights {
    /// Maps the weights of the model in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, ImportError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let files = if single.exists() {
            vec![single]
        } else if index.exists() {
            shard_paths(&index)?
        } else {
            return Err(ImportError::Missing {
                path: single,
                remedy: "save the model with `save_pretrained(..., safe_serialization=True)`",
            });
        };
        let shards = files.into_iter().map(|path| Ok((path.clone(), map(&path)?)));
        Ok(Self { shards: shards.collect::<Result<_, ImportError>>()? })
    }

    /// Writes all tensors to `path`: the file as it is where it can be used so, else merged and
    /// with half-precision tensors widened to f32, one tensor at a time.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ImportError> {
        let mut tensors = BTreeMap::new();
        let mut aligned = true;
        for (shard, bytes) in &self.shards {
            let (header, parsed) = parse(shard, bytes)?;
            // f32 and i64 tensors start at multiples of 8 if the data does.
            aligned &= header.is_multiple_of(8);
            for (name, view) in parsed.iter() {
                let tensor = Widened::new(view);
                aligned &= matches!(tensor, Widened::Kept(_));
                if tensors.insert(name.to_owned(), tensor).is_some() {
                    let problem = format!("tensor {name} is in another shard already");
                    return Err(ImportError::Weights { path: shard.clone(), problem });
                }
            }
        }
        let failed = |source| ImportError::Write { path: path.to_owned(), source };
        match &self.shards[..] {
            [(shard, _)] if aligned => fs::copy(shard, path).map(drop).map_err(failed),
            _ => safetensors::serialize_to_file(tensors, None, path)
                .map_err(|error| failed(std::io::Error::other(error))),
        }
    }
}

/// A tensor that is f32 when it is read, if it holds floating-point numbers.
enum Widened<'a> {
    Kept(TensorView<'a>),
    Half(TensorView<'a>, fn([u8; 2]) -> f32),
}

impl<'a> Widened<'a> {
    fn new(view: TensorView<'a>) -> Self {
        match view.dtype() {
            Dtype::F16 => Self::Half(view, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => Self::Half(view, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => Self::Kept(view),
        }
    }
}

impl View for Widened<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Kept(view) => view.dtype(),
            Self::Half(..) => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Kept(view) | Self::Half(view, _) => view.shape(),
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Kept(view) => Cow::Borrowed(view.data()),
            Self::Half(view, widen) => {
                let pairs = view.data().as_chunks::<2>().0;
                Cow::Owned(pairs.iter().flat_map(|&pair| widen(pair).to_le_bytes()).collect())
            }
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Self::Kept(view) => view.data().len(),
            Self::Half(view, _) => view.data().len() * 2,
        }
    }
}

/// A tensor of a bundle's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Its element type.
    pub(crate) dtype: Dtype,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// Its first byte in the file.
    pub(crate) offset: usize,
    /// Its bytes.
    pub(crate) length: usize,
}

/// Where each tensor of the safetensors file at `path` is.
pub(crate) fn tensors(path: &Path) -> Result<HashMap<String, Tensor>, ImportError> {
    let bytes = map(path)?;
    let (start, _) = parse(path, &bytes)?;
    let (_, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|error| refused(path, &error))?;
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        let (dtype, shape) = (info.dtype, info.shape.clone());
        (name, Tensor { dtype, shape, offset: start + from, length: to - from })
    });
    Ok(tensors.collect())
}

/// The tensors in `bytes` and where their data starts.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<(usize, SafeTensors<'a>), ImportError> {
    let wrong = |error| refused(path, &error);
    let (header, _) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
    Ok((header + size_of::<u64>(), SafeTensors::deserialize(bytes).map_err(wrong)?))
}

fn refused(path: &Path, error: &safetensors::SafeTensorError) -> ImportError {
    let problem = format!("{error}; the file is damaged or cut short, fetch it again");
    ImportError::Weights { path: path.to_owned(), problem }
}

fn map(path: &Path) -> Result<Mmap, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the bytes are only read. Another process that writes to the file meanwhile could
    // change them under us: every index taken from them is checked against the map's length when
    // it is used, so the worst are wrong weights, or the signal that a truncated map raises.
    unsafe { Mmap::map(&file) }.map_err(failed)
}

fn shard_paths(index: &Path) -> Result<Vec<PathBuf>, ImportError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let Index { weight_map } = crate::import::read_json(index)?;
    let mut names: Vec<&String> = weight_map.values().collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|name| beside(index, name)).collect()
}

/// The file `name` in the folder of `index`; names that lead elsewhere are refused.
fn beside(index: &Path, name: &str) -> Result<PathBuf, ImportError> {
    if Path::new(name).file_name().is_none_or(|last| last != name) {
        let problem = format!("shard {name:?} is not a file name");
        return Err(ImportError::Weights { path: index.to_owned(), problem });
    }
    Ok(index.with_file_name(name))
}
