//! The weights of a model folder as strangers saved it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use serde::Deserialize;

use crate::error::WeightsError;
use crate::file::{Tensor, WeightsFile};

/// The tensors of a folder of Hugging Face `transformers`: one safetensors file, or several with an
/// index. They are read as f32, one at a time.
#[derive(Debug)]
pub struct SourceFiles {
    shards: Vec<WeightsFile>,
    /// The shard of each tensor.
    tensors: BTreeMap<String, usize>,
}

impl SourceFiles {
    /// Maps the weights in `folder`.
    ///
    /// # Errors
    /// If there are none, a file cannot be read or is damaged, or files and index contradict each
    /// other.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        if single.exists() {
            return Self::of(vec![WeightsFile::open(&single)?]);
        }
        if !index.exists() {
            return Err(WeightsError::Missing {
                path: single,
                remedy: "save the model with `save_pretrained(..., safe_serialization=True)`",
            });
        }
        let shard_of = shards_by_tensor(&index)?;
        let mut paths: Vec<&PathBuf> = shard_of.values().collect();
        paths.sort();
        paths.dedup();
        let shards = paths.into_iter().map(|path| WeightsFile::open(path));
        let source = Self::of(shards.collect::<Result<_, _>>()?)?;
        for (name, shard) in &shard_of {
            if source.shard(name).map(WeightsFile::path) != Some(shard) {
                let problem = format!("is not in {}, as the index says", shard.display());
                return Err(WeightsError::tensor(&index, name, problem));
            }
        }
        Ok(source)
    }

    fn of(shards: Vec<WeightsFile>) -> Result<Self, WeightsError> {
        let mut tensors = BTreeMap::new();
        for (shard, file) in shards.iter().enumerate() {
            for name in file.names() {
                if tensors.insert(name.to_owned(), shard).is_some() {
                    return Err(WeightsError::tensor(file.path(), name, "is in another file too"));
                }
            }
        }
        Ok(Self { shards, tensors })
    }

    fn shard(&self, name: &str) -> Option<&WeightsFile> {
        self.tensors.get(name).map(|&shard| &self.shards[shard])
    }

    /// The names of all tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor `name` as it was saved, if there is one.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.shard(name)?.tensor(name).ok()
    }

    /// The values of the tensor `name`, row-major.
    ///
    /// # Errors
    /// If there is no such tensor, or its elements are no f32, f16 or bf16.
    pub fn values(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.floats(name)?;
        self.rows(name, 0..tensor.rows)
    }

    /// Rows of the tensor `name` along its first dimension, row-major: only they are read.
    ///
    /// # Errors
    /// As [`values`](Self::values), or if there are no such rows.
    pub fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.floats(name)?;
        self.within(name, "rows", &rows, tensor.rows)?;
        let mut values = vec![0.0; rows.len() * tensor.columns];
        tensor.read(rows.start * tensor.columns, &mut values);
        Ok(values)
    }

    /// Columns of the matrix `name`, each as a row: `[columns, rows]`, the transpose of that part. All
    /// dimensions but the first count as columns.
    ///
    /// # Errors
    /// As [`values`](Self::values), or if there are no such columns.
    pub fn transposed(&self, name: &str, columns: Range<usize>) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.floats(name)?;
        self.within(name, "columns", &columns, tensor.columns)?;
        let (rows, width) = (tensor.rows, columns.len());
        let mut values = vec![0.0; rows * width];
        // Strips of rows, so that what is written together lies together.
        let mut strip = vec![0.0; STRIP.min(rows) * width];
        for first in (0..rows).step_by(STRIP) {
            let height = STRIP.min(rows - first);
            for (row, part) in strip.chunks_exact_mut(width.max(1)).take(height).enumerate() {
                tensor.read((first + row) * tensor.columns + columns.start, part);
            }
            for (column, values) in values.chunks_exact_mut(rows).enumerate() {
                for (row, value) in values[first..][..height].iter_mut().enumerate() {
                    *value = strip[row * width + column];
                }
            }
        }
        Ok(values)
    }

    fn floats(&self, name: &str) -> Result<Floats<'_>, WeightsError> {
        let missing = || {
            let path = self.shards.first().map_or(Path::new(""), WeightsFile::path);
            WeightsError::tensor(path, name, "is not there")
        };
        let file = self.shard(name).ok_or_else(missing)?;
        let Tensor { dtype, shape, bytes } = file.tensor(name)?;
        let read = match dtype {
            Dtype::F32 => read_f32,
            Dtype::F16 => read_f16,
            Dtype::BF16 => read_bf16,
            _ => {
                let problem = format!("has {dtype} values; expected F32, F16 or BF16");
                return Err(WeightsError::tensor(file.path(), name, problem));
            }
        };
        let rows = shape.first().copied().unwrap_or(1);
        let width = dtype.bitsize() / 8;
        let columns = (bytes.len() / width).checked_div(rows).unwrap_or(0);
        Ok(Floats { rows, columns, bytes, width, read })
    }

    fn within(
        &self,
        name: &str,
        what: &str,
        range: &Range<usize>,
        there: usize,
    ) -> Result<(), WeightsError> {
        if range.start <= range.end && range.end <= there {
            return Ok(());
        }
        let path = self.shard(name).map_or(Path::new(""), WeightsFile::path);
        let problem = format!("has {there} {what}, but {range:?} were asked for");
        Err(WeightsError::tensor(path, name, problem))
    }
}

/// Rows that are transposed at a time.
const STRIP: usize = 64;

/// A tensor of floating-point numbers: a matrix of its first dimension and the others.
struct Floats<'a> {
    rows: usize,
    columns: usize,
    bytes: &'a [u8],
    /// Bytes of a value.
    width: usize,
    read: fn(&[u8], &mut [f32]),
}

impl Floats<'_> {
    /// Reads the values from the index `from` on.
    fn read(&self, from: usize, out: &mut [f32]) {
        let bytes = &self.bytes[from * self.width..][..out.len() * self.width];
        (self.read)(bytes, out);
    }
}

fn read_f32(bytes: &[u8], out: &mut [f32]) {
    for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *value = f32::from_le_bytes(bytes);
    }
}

fn read_f16(bytes: &[u8], out: &mut [f32]) {
    // Through a small buffer: the tensor may start anywhere, and slices convert much faster.
    let mut halves = [f16::ZERO; 256];
    for (out, bytes) in out.chunks_mut(256).zip(bytes.chunks(512)) {
        let halves = &mut halves[..out.len()];
        for (half, &bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
            *half = f16::from_le_bytes(bytes);
        }
        halves.convert_to_f32_slice(out);
    }
}

fn read_bf16(bytes: &[u8], out: &mut [f32]) {
    for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *value = bf16::from_le_bytes(bytes).to_f32();
    }
}

/// The file of each tensor in the index at `index`.
fn shards_by_tensor(index: &Path) -> Result<BTreeMap<String, PathBuf>, WeightsError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let damaged = |problem| WeightsError::Damaged { path: index.to_owned(), problem };
    let text = fs::read(index).map_err(WeightsError::read(index))?;
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    let beside = |(tensor, shard): (String, String)| {
        // Names that lead out of the folder are refused.
        match Path::new(&shard).file_name() {
            Some(name) if name == shard.as_str() => Ok((tensor, index.with_file_name(&shard))),
            _ => Err(damaged(format!("the shard {shard:?} of tensor {tensor} is not a file name"))),
        }
    };
    weight_map.into_iter().map(beside).collect()
}
