//! A safetensors file, mapped.

use std::fs::File;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfBitsSliceExt;
use memmap2::Mmap;
use safetensors::Dtype;

use crate::blocks::BlocksView;
use crate::error::WeightsError;
use crate::format::{Bits, OFFSETS, SCALES, companion};
use crate::header::{Header, Location};
use crate::int8::Int8RowsView;
use crate::matrix::Matrix;

/// The weights of a bundle, or another safetensors file: its header is checked, its tensors are read
/// from disk when they are used.
///
/// Whoever changes the file meanwhile changes the weights; whoever truncates it ends the process.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    bytes: Mmap,
    header: Header,
}

/// A tensor of a [`WeightsFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its values, row-major and little-endian.
    pub bytes: &'a [u8],
}

impl WeightsFile {
    /// Maps the safetensors file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or its header is not true: tensors that overlap, leave gaps, lead outside
    /// the file or have other lengths than their shapes, names that occur twice.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let bytes = map(path)?;
        let header = Header::parse(&bytes)
            .map_err(|problem| WeightsError::Damaged { path: path.to_owned(), problem })?;
        Ok(Self { path: path.to_owned(), bytes, header })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// Where the tensor `name` is in the file.
    ///
    /// # Errors
    /// If there is none.
    pub fn location(&self, name: &str) -> Result<&Location, WeightsError> {
        let missing = || self.wrong(name, "is not there");
        self.header.tensors.get(name).ok_or_else(missing)
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, WeightsError> {
        let Location { dtype, shape, offset, length } = self.location(name)?;
        let bytes = &self.bytes[*offset..offset + length];
        Ok(Tensor { dtype: *dtype, shape, bytes })
    }

    /// The values of the f32 tensor `name`, row-major, whatever its rank.
    ///
    /// # Errors
    /// If there is no such tensor, its elements are no f32, or it does not start at a multiple of 4.
    pub fn vector(&self, name: &str) -> Result<&[f32], WeightsError> {
        let tensor = self.tensor(name)?;
        match tensor.dtype {
            Dtype::F32 => self.cast(name, tensor.bytes),
            dtype => Err(self.wrong(name, format!("has {dtype} values; expected F32"))),
        }
    }

    /// The matrix `name` (`X.weight`, with `X.scales` and `X.offsets` where it has some).
    ///
    /// # Errors
    /// If there is no such tensor, or its parts do not make a matrix of a known encoding.
    pub fn matrix(&self, name: &str) -> Result<Matrix<'_>, WeightsError> {
        let Tensor { dtype, shape, bytes } = self.tensor(name)?;
        match (dtype, shape) {
            _ if bytes.is_empty() => Err(self.wrong(name, format!("is empty: {shape:?}"))),
            (Dtype::F32, &[_, columns]) => {
                Ok(Matrix::F32 { columns, values: self.cast(name, bytes)? })
            }
            (Dtype::F16, &[_, columns]) => {
                let values: &[u16] = self.cast(name, bytes)?;
                Ok(Matrix::F16 { columns, values: values.reinterpret_cast::<f16>() })
            }
            (Dtype::U8, &[rows, blocks, block]) => self.blocks(name, [rows, blocks, block], bytes),
            (Dtype::I8, &[columns, rows]) => {
                let scales = self.vector(&companion(name, SCALES))?;
                let quants = bytemuck::cast_slice(bytes);
                let view = Int8RowsView { rows, columns, quants, scales }.checked();
                view.map(Matrix::Int8).map_err(|error| self.wrong(name, error))
            }
            _ => Err(self.wrong(
                name,
                format!(
                    "is {dtype} of shape {shape:?}; expected a matrix: F32 or F16 of rank 2, U8 of \
                     rank 3 (blocks) or I8 of rank 2 (int8 rows)"
                ),
            )),
        }
    }

    fn blocks<'a>(
        &'a self,
        name: &str,
        [rows, blocks, bytes]: [usize; 3],
        quants: &'a [u8],
    ) -> Result<Matrix<'a>, WeightsError> {
        // 16 bytes are 32 values of 4 bits or 16 of 8 bits: the shape leaves it open.
        let bits = match self.header.metadata.get(name).map(String::as_str) {
            Some("4") => Bits::Four,
            Some("8") => Bits::Eight,
            other => {
                let problem = "expected the file's metadata to say under this name whether its \
                               values have \"4\" or \"8\" bits, as `WeightsWriter` does";
                return Err(self.wrong(name, format!("is U8 of {other:?} bits; {problem}")));
            }
        };
        let block = bytes * 8 / bits.width();
        let scales = self.vector(&companion(name, SCALES))?;
        let offsets = companion(name, OFFSETS);
        let offsets = self.contains(&offsets).then(|| self.vector(&offsets)).transpose()?;
        // The shape is known to fit the codes and these are there, so no product overflows.
        let columns = blocks * block;
        let view = BlocksView { bits, block, rows, columns, quants, scales, offsets }.checked();
        view.map(Matrix::Blocks).map_err(|error| self.wrong(name, error))
    }

    fn cast<'a, T: bytemuck::AnyBitPattern>(
        &self,
        name: &str,
        bytes: &'a [u8],
    ) -> Result<&'a [T], WeightsError> {
        bytemuck::try_cast_slice(bytes).map_err(|_| {
            let problem =
                "does not start at a multiple of its elements' size; import the model anew";
            self.wrong(name, problem)
        })
    }

    fn wrong(&self, name: &str, problem: impl ToString) -> WeightsError {
        WeightsError::tensor(&self.path, name, problem)
    }
}

#[expect(unsafe_code, reason = "a file that others may change is mapped")]
fn map(path: &Path) -> Result<Mmap, WeightsError> {
    let file = File::open(path).map_err(WeightsError::read(path))?;
    // SAFETY: the bytes are only read. Another process that writes to the file meanwhile could change
    // them under us: every index taken from them is checked against the map's length before it is
    // used, and kept, so the worst are wrong weights, or the signal that a truncated map raises.
    unsafe { Mmap::map(&file) }.map_err(WeightsError::read(path))
}
