//! Types of tensors and how their blocks are laid out.

use std::fmt;

use crate::GgufError;

/// The type of a tensor's elements. Quantized types keep a number of values in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// The upper 16 bits of 32-bit floats.
    Bf16,
    /// 8 bits: `q * d`; a scale `d` for 32 values.
    Q8_0,
    /// 4 bits: `(q - 8) * d`; a scale for 32 values.
    Q4_0,
    /// 4 bits: `q * d + m`; a scale and a minimum for 32 values.
    Q4_1,
    /// 4 bits: `q * d - m`; 256 values in groups of 32, whose scales and minima are quantized too.
    Q4K,
    /// 6 bits: `(q - 32) * d`; 256 values in groups of 16, whose scales are quantized too.
    Q6K,
}

impl TensorType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q4K,
        Self::Q6K,
    ];

    /// The number that stands for it in a file.
    pub fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
            Self::Bf16 => 30,
        }
    }

    /// Values in a block; 1 for floats.
    pub fn block_values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// The type that `code` stands for in the file, for the tensor `name`.
    pub(crate) fn of(code: u32, name: &str) -> Result<Self, GgufError> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or_else(|| {
            let known = Self::ALL.map(|kind| kind.to_string()).join(", ");
            let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == code);
            let got =
                foreign.map_or_else(|| format!("type {code}"), |(_, name)| (*name).to_owned());
            let problem = format!("is of {got}, which cannot be read, only {known}");
            GgufError::tensor(name, problem)
        })
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q4K => "Q4_K",
            Self::Q6K => "Q6_K",
        })
    }
}

/// Names of types that are not read, so that an error can say what it met.
const FOREIGN: &[(u32, &str)] = &[
    (6, "Q5_0"),
    (7, "Q5_1"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (13, "Q5_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];
