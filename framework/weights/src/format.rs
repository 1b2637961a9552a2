//! The formats to choose from, and how each lays a matrix out.

use std::fmt;
use std::str::FromStr;

use half::f16;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::MatrixError;
use crate::rows::checked_area;

/// Columns that share a scale in what [`encode`](crate::encode) makes.
pub(crate) const BLOCK: usize = 32;

/// What the matrices of a bundle are asked to be stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightFormat {
    /// As they are.
    F32,
    /// Half precision: 11 significant bits, magnitudes up to 65504.
    F16,
    /// Blocks of 8 bit values that share a scale.
    Q8,
    /// Blocks of 4 bit values that share a scale.
    Q4,
    /// 8 bit values, one scale per row, for products of integers.
    Int8,
}

impl WeightFormat {
    /// All formats, as the command line lists them.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Q8, Self::Q4, Self::Int8];

    /// How this format stores the matrix of a linear map with `columns` inputs: 8 and 4 bit formats
    /// need a multiple of 32, other maps stay f32.
    pub fn encoding(self, columns: usize) -> Encoding {
        let blocks = |bits| Encoding::Blocks { bits, block: BLOCK, offsets: false };
        match self {
            Self::F16 => Encoding::F16,
            Self::F32 => Encoding::F32,
            _ if !columns.is_multiple_of(BLOCK) => Encoding::F32,
            Self::Q8 => blocks(Bits::Eight),
            Self::Q4 => blocks(Bits::Four),
            Self::Int8 => Encoding::Int8,
        }
    }

    /// The format of the token embedding in a bundle of this format: 8 bit blocks, which can be read
    /// row by row, instead of anything narrower or transposed.
    pub fn of_embedding(self) -> Self {
        match self {
            Self::F32 | Self::F16 => self,
            Self::Q8 | Self::Q4 | Self::Int8 => Self::Q8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A weight format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown weight format {name:?}; expected {}", WeightFormat::ALL.map(WeightFormat::name).join(", "))]
pub struct UnknownFormat {
    /// What was taken for its name.
    pub name: String,
}

impl FromStr for WeightFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

/// Bits of a value in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bits {
    /// 16 levels, two values a byte, the earlier one in the low nibble.
    Four,
    /// 256 levels.
    Eight,
}

impl Bits {
    /// How many.
    pub fn width(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Bytes of `values` values.
    pub fn bytes(self, values: usize) -> usize {
        match self {
            Self::Four => values / 2,
            Self::Eight => values,
        }
    }
}

/// How one matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Values as they are.
    F32,
    /// Half precision.
    F16,
    /// See [`Blocks`](crate::Blocks).
    Blocks {
        /// Bits of a value.
        bits: Bits,
        /// Columns that share a scale.
        block: usize,
        /// Whether each block has an offset too.
        offsets: bool,
    },
    /// See [`Int8Rows`](crate::Int8Rows).
    Int8,
}

/// A tensor of a safetensors file, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    /// Its name.
    pub(crate) name: String,
    /// Its element type.
    pub(crate) dtype: Dtype,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
}

impl Encoding {
    /// The values of a matrix of `rows` x `columns`, if it can be stored so.
    pub(crate) fn check(self, rows: usize, columns: usize) -> Result<usize, MatrixError> {
        let values = checked_area(rows, columns)?;
        match self {
            // No kernel reads others.
            Self::Blocks { block, .. }
                if !block.is_power_of_two() || block < 16 || !columns.is_multiple_of(block) =>
            {
                let problem = format!(
                    "has blocks of {block} columns; expected a power of two from 16 on that \
                     divides the columns"
                );
                Err(MatrixError::Shape { rows, columns, problem })
            }
            _ => Ok(values),
        }
    }

    /// The largest magnitude of a value that can be stored so.
    pub(crate) fn largest(self) -> f32 {
        match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
            // A code times its scale, which was rounded, may exceed the value that it was made from.
            Self::Blocks { .. } | Self::Int8 => f32::MAX / 2.0,
        }
    }

    /// The tensors that hold the matrix `name` of `rows` x `columns`, in the order of
    /// [`Encoded::tensors`](crate::Encoded::tensors), if it can be stored so.
    pub(crate) fn tensors(self, name: &str, rows: usize, columns: usize) -> Vec<TensorSpec> {
        let tensor = |name: String, dtype, shape: &[usize]| TensorSpec {
            name,
            dtype,
            shape: shape.to_vec(),
        };
        let quants = |dtype, shape: &[usize]| tensor(name.to_owned(), dtype, shape);
        let beside = |part, shape: &[usize]| tensor(companion(name, part), Dtype::F32, shape);
        match self {
            Self::F32 => vec![quants(Dtype::F32, &[rows, columns])],
            Self::F16 => vec![quants(Dtype::F16, &[rows, columns])],
            Self::Blocks { bits, block, offsets } => {
                let blocks = columns / block;
                let mut tensors = vec![
                    quants(Dtype::U8, &[rows, blocks, bits.bytes(block)]),
                    beside(SCALES, &[rows, blocks]),
                ];
                tensors.extend(offsets.then(|| beside(OFFSETS, &[rows, blocks])));
                tensors
            }
            Self::Int8 => vec![quants(Dtype::I8, &[columns, rows]), beside(SCALES, &[rows])],
        }
    }
}

pub(crate) const SCALES: &str = "scales";
pub(crate) const OFFSETS: &str = "offsets";

/// The tensor that belongs to the matrix `name`: `X.scales` for `X.weight`.
pub(crate) fn companion(name: &str, part: &str) -> String {
    format!("{}.{part}", name.strip_suffix(".weight").unwrap_or(name))
}
