//! A matrix however it is stored.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::blocks::{Blocks, BlocksView};
use crate::error::MatrixError;
use crate::format::{Encoding, TensorSpec, WeightFormat};
use crate::int8::{Int8Rows, Int8RowsView};
use crate::rows::{check_range, checked_area};

/// A matrix `[rows, columns]` to read, in any encoding; of a mapped file, only what is read is loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Matrix<'a> {
    /// Values as they are.
    #[non_exhaustive]
    F32 {
        /// Columns of the matrix.
        columns: usize,
        /// Values `[rows, columns]`.
        values: &'a [f32],
    },
    /// Half precision.
    #[non_exhaustive]
    F16 {
        /// Columns of the matrix.
        columns: usize,
        /// Values `[rows, columns]`.
        values: &'a [f16],
    },
    /// Blocks that share a scale.
    Blocks(BlocksView<'a>),
    /// Rows that share a scale.
    Int8(Int8RowsView<'a>),
}

impl Matrix<'_> {
    /// Its rows: what the linear map puts out.
    pub fn rows(&self) -> usize {
        match self {
            Self::F32 { columns, values } => values.len() / columns,
            Self::F16 { columns, values } => values.len() / columns,
            Self::Blocks(blocks) => blocks.rows,
            Self::Int8(matrix) => matrix.rows,
        }
    }

    /// Its columns: what the linear map takes in.
    pub fn columns(&self) -> usize {
        match self {
            Self::F32 { columns, .. } | Self::F16 { columns, .. } => *columns,
            Self::Blocks(blocks) => blocks.columns,
            Self::Int8(matrix) => matrix.columns,
        }
    }

    /// How it is stored.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::F32 { .. } => Encoding::F32,
            Self::F16 { .. } => Encoding::F16,
            Self::Blocks(blocks) => blocks.encoding(),
            Self::Int8(_) => Encoding::Int8,
        }
    }

    /// Writes the values of `rows` to `out`, `[rows, columns]`.
    ///
    /// # Errors
    /// If there are no such rows, or `out` has not just their size.
    pub fn dequantize_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), MatrixError> {
        let columns = self.columns();
        if rows.start > rows.end || rows.end > self.rows() {
            let (from, to) = (rows.start, rows.end);
            return Err(MatrixError::Rows { from, to, rows: self.rows() });
        }
        if out.len() != rows.len() * columns {
            let problem = format!("does not fit a place for {} values", out.len());
            return Err(MatrixError::Shape { rows: rows.len(), columns, problem });
        }
        let values = rows.start * columns..rows.end * columns;
        match self {
            Self::F32 { values: source, .. } => out.copy_from_slice(&source[values]),
            Self::F16 { values: source, .. } => source[values].convert_to_f32_slice(out),
            Self::Blocks(blocks) => blocks.dequantize(rows, out),
            Self::Int8(matrix) => matrix.dequantize(rows, out),
        }
        Ok(())
    }
}

/// A matrix `[rows, columns]` as it is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Encoded {
    /// Values as they are.
    #[non_exhaustive]
    F32 {
        /// Columns of the matrix.
        columns: usize,
        /// Values `[rows, columns]`.
        values: Vec<f32>,
    },
    /// Half precision.
    #[non_exhaustive]
    F16 {
        /// Columns of the matrix.
        columns: usize,
        /// Values `[rows, columns]`.
        values: Vec<f16>,
    },
    /// Blocks that share a scale.
    Blocks(Blocks),
    /// Rows that share a scale.
    Int8(Int8Rows),
}

/// Stores `values` `[rows, columns]` in `format`, or as f32 where the format does not take so many
/// columns ([`WeightFormat::encoding`]).
///
/// # Errors
/// If there are not `rows * columns` values, or one is not finite or does not fit the format.
pub fn encode(
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    format: WeightFormat,
) -> Result<Encoded, MatrixError> {
    if values.len() != checked_area(rows, columns)? {
        let problem = format!("was given {} values", values.len());
        return Err(MatrixError::Shape { rows, columns, problem });
    }
    let (shape, encoding) = ([rows, columns], format.encoding(columns));
    check_range(&values, columns, 1, encoding.largest())?;
    Ok(match encoding {
        Encoding::F32 => Encoded::F32 { columns, values },
        Encoding::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(&values);
            Encoded::F16 { columns, values: halves }
        }
        Encoding::Blocks { bits, .. } => Encoded::Blocks(Blocks::encode(bits, &values, shape)),
        Encoding::Int8 => Encoded::Int8(Int8Rows::encode(&values, shape)),
    })
}

impl Encoded {
    /// The matrix, to read.
    pub fn matrix(&self) -> Matrix<'_> {
        match self {
            Self::F32 { columns, values } => Matrix::F32 { columns: *columns, values },
            Self::F16 { columns, values } => Matrix::F16 { columns: *columns, values },
            Self::Blocks(blocks) => Matrix::Blocks(blocks.view()),
            Self::Int8(matrix) => Matrix::Int8(matrix.view()),
        }
    }

    /// The tensors that hold the matrix `name` in a safetensors file, and their bytes.
    pub(crate) fn tensors(&self, name: &str) -> Vec<(TensorSpec, &[u8])> {
        let matrix = self.matrix();
        let specs = matrix.encoding().tensors(name, matrix.rows(), matrix.columns());
        let parts: Vec<&[u8]> = match matrix {
            Matrix::F32 { values, .. } => vec![bytemuck::cast_slice(values)],
            Matrix::F16 { values, .. } => {
                vec![bytemuck::cast_slice::<u16, u8>(values.reinterpret_cast())]
            }
            Matrix::Blocks(BlocksView { quants, scales, offsets, .. }) => {
                let floats = [Some(scales), offsets].into_iter().flatten();
                [quants].into_iter().chain(floats.map(bytemuck::cast_slice)).collect()
            }
            Matrix::Int8(Int8RowsView { quants, scales, .. }) => {
                vec![bytemuck::cast_slice(quants), bytemuck::cast_slice(scales)]
            }
        };
        specs.into_iter().zip(parts).collect()
    }
}

impl From<Blocks> for Encoded {
    fn from(blocks: Blocks) -> Self {
        Self::Blocks(blocks)
    }
}
