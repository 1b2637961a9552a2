//! Writes the weights of a bundle, one matrix at a time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::error::{MatrixError, WeightsError};
use crate::format::{Encoding, TensorSpec};
use crate::header::{LENGTH, METADATA, byte_length};
use crate::matrix::Encoded;
use crate::rows::check_range;

/// Where the data starts and most tensors do: a multiple of a cache line.
const ALIGNMENT: usize = 64;

/// A matrix or tensor that is going to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    name: String,
    stored: Stored,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stored {
    Matrix([usize; 2], Encoding),
    Tensor(Dtype, Vec<usize>),
}

impl Planned {
    /// The matrix `name` of the shape `[rows, columns]`, stored as `encoding`.
    pub fn matrix(name: impl Into<String>, shape: [usize; 2], encoding: Encoding) -> Self {
        Self { name: name.into(), stored: Stored::Matrix(shape, encoding) }
    }

    /// The tensor `name` of any rank, stored as it is.
    pub fn tensor(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), stored: Stored::Tensor(dtype, shape.into()) }
    }

    fn tensors(&self) -> Result<Vec<TensorSpec>, MatrixError> {
        match self.stored {
            Stored::Matrix([rows, columns], encoding) => {
                encoding.check(rows, columns)?;
                Ok(encoding.tensors(&self.name, rows, columns))
            }
            Stored::Tensor(dtype, ref shape) => {
                Ok(vec![TensorSpec { name: self.name.clone(), dtype, shape: shape.clone() }])
            }
        }
    }
}

/// A safetensors file in the making. All that it will hold is announced first; then all is
/// written in any order, and each can be dropped before the next is made.
///
/// The data starts at a multiple of 64 bytes and so does every tensor whose own length and whose
/// neighbours' are multiples of 64, which are almost all; the others come last, and start at a
/// multiple of their elements' size.
#[derive(Debug)]
pub struct WeightsWriter {
    path: PathBuf,
    file: File,
    /// What is still to be written, and where.
    pending: HashMap<String, Slot>,
}

#[derive(Debug)]
struct Slot {
    spec: TensorSpec,
    offset: usize,
}

impl WeightsWriter {
    /// Creates the file at `path`, which must not exist, and writes its header.
    ///
    /// # Errors
    /// If the file exists or cannot be written, two tensors have one name, or a shape does not fit its
    /// encoding or has no whole number of bytes.
    pub fn create(path: &Path, planned: &[Planned]) -> Result<Self, WeightsError> {
        let mut specs = Vec::new();
        let mut metadata = Map::new();
        for plan in planned {
            let wrong = |error| WeightsError::tensor(path, &plan.name, error);
            specs.extend(plan.tensors().map_err(wrong)?);
            if let Stored::Matrix(_, Encoding::Blocks { bits, .. }) = plan.stored {
                metadata.insert(plan.name.clone(), bits.width().to_string().into());
            }
        }
        let (header, pending) = layout(path, specs, metadata)?;
        let mut file = File::create_new(path).map_err(WeightsError::write(path))?;
        file.write_all(&header).map_err(WeightsError::write(path))?;
        Ok(Self { path: path.to_owned(), file, pending })
    }

    /// Writes the matrix `name`.
    ///
    /// # Errors
    /// If the file cannot be written, or such a matrix was not announced or is written already.
    pub fn write(&mut self, name: &str, matrix: &Encoded) -> Result<(), WeightsError> {
        for (spec, bytes) in matrix.tensors(name) {
            self.put(&spec.name, spec.dtype, Some(&spec.shape), bytes)?;
        }
        Ok(())
    }

    /// Writes the tensor `name` that is stored as f32, of any rank, from its values, row-major.
    ///
    /// # Errors
    /// If the file cannot be written, such a tensor was not announced or is written already, or a value
    /// is not finite.
    pub fn write_f32(&mut self, name: &str, values: &[f32]) -> Result<(), WeightsError> {
        let columns = self.pending.get(name).and_then(|slot| slot.spec.shape.last());
        let columns = columns.map_or(1, |&columns| columns.max(1));
        check_range(values, columns, 1, f32::MAX)
            .map_err(|source| WeightsError::Value { name: name.to_owned(), source })?;
        self.put(name, Dtype::F32, None, bytemuck::cast_slice(values))
    }

    /// Writes the tensor `name` of any element type, from its bytes, row-major and little-endian.
    ///
    /// # Errors
    /// If the file cannot be written, or such a tensor was not announced or is written already.
    pub fn write_bytes(
        &mut self,
        name: &str,
        dtype: Dtype,
        bytes: &[u8],
    ) -> Result<(), WeightsError> {
        self.put(name, dtype, None, bytes)
    }

    /// Writes the tensor `name`, if it is as it was announced; a shape that is not given is the same.
    fn put(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: Option<&[usize]>,
        bytes: &[u8],
    ) -> Result<(), WeightsError> {
        let wrong = |problem: String| WeightsError::tensor(&self.path, name, problem);
        let Some(Slot { spec, offset }) = self.pending.get(name) else {
            return Err(wrong("was not announced or is written already".to_owned()));
        };
        let shape = shape.unwrap_or(&spec.shape);
        let size = byte_length(dtype, shape);
        if (dtype, shape, size) != (spec.dtype, &spec.shape[..], Some(bytes.len())) {
            return Err(wrong(format!(
                "was announced as {} of shape {:?}, but given as {dtype} of shape {shape:?} in {} \
                 bytes",
                spec.dtype,
                spec.shape,
                bytes.len()
            )));
        }
        let mut write = || {
            self.file.seek(SeekFrom::Start(*offset as u64))?;
            self.file.write_all(bytes)
        };
        write().map_err(WeightsError::write(&self.path))?;
        self.pending.remove(name);
        Ok(())
    }

    /// Makes sure that all is written and on disk.
    ///
    /// # Errors
    /// If the file cannot be written, or something that was announced is not.
    pub fn finish(self) -> Result<(), WeightsError> {
        if let Some(name) = self.pending.keys().min() {
            return Err(WeightsError::tensor(&self.path, name, "was announced but is not written"));
        }
        self.file.sync_all().map_err(WeightsError::write(&self.path))
    }
}

/// The start of the file, and the places of `specs` in it.
fn layout(
    path: &Path,
    mut specs: Vec<TensorSpec>,
    metadata: Map<String, Value>,
) -> Result<(Vec<u8>, HashMap<String, Slot>), WeightsError> {
    let uneven = |spec: &TensorSpec| {
        byte_length(spec.dtype, &spec.shape).is_none_or(|length| !length.is_multiple_of(ALIGNMENT))
    };
    specs.sort_by_key(|spec| (uneven(spec), Reverse(spec.dtype.bitsize())));
    let mut entries = Map::from_iter([(METADATA.to_owned(), Value::Object(metadata))]);
    let (mut pending, mut end) = (HashMap::new(), 0);
    for spec in specs {
        let wrong = |problem| WeightsError::tensor(path, &spec.name, problem);
        let (offset, length) = (end, byte_length(spec.dtype, &spec.shape));
        end = length
            .and_then(|length| length.checked_add(offset))
            .ok_or_else(|| wrong("has more bytes than there are addresses, or a half one"))?;
        let (dtype, shape) = (spec.dtype, &spec.shape);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
        if entries.insert(spec.name.clone(), entry).is_some() {
            return Err(wrong("was announced twice"));
        }
        pending.insert(spec.name.clone(), Slot { spec, offset });
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize((LENGTH + header.len()).next_multiple_of(ALIGNMENT) - LENGTH, b' ');
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.append(&mut header);
    pending.values_mut().for_each(|slot| slot.offset += start.len());
    Ok((start, pending))
}
