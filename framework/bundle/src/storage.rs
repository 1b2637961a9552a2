//! How the tensors of a bundle are stored, whatever they come as.

use std::path::Path;

use mobillm_weights::{
    Bits, Dtype, Encoding, MatrixError, Planned, WeightFormat, WeightsError, WeightsWriter, encode,
};

use crate::import::ImportError;
use crate::import::source::{SourceTensor, Values};

/// How a tensor of a bundle is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As a matrix of so many rows and columns, in the blocks that it comes in.
    Kept(Encoding, [usize; 2]),
    /// As a matrix of so many rows and columns, encoded from its values.
    Encoded(WeightFormat, [usize; 2]),
    /// As it is, in f32.
    Values,
}

impl Storage {
    /// How `tensor` is stored in a bundle of `format`, of a model whose own format is `came_as`.
    pub(crate) fn of(tensor: &SourceTensor, format: WeightFormat, came_as: WeightFormat) -> Self {
        let format = match &*tensor.name {
            "embedding.positions.weight" | "embedding.segments.weight" => return Self::Values,
            // Read row by row: never stored narrower than in 8 bits, or transposed.
            name if is_looked_up(name) => format.of_embedding(),
            _ => format,
        };
        match (tensor.blocks, &tensor.shape[..]) {
            (Some(blocks @ Encoding::Blocks { bits, .. }), &[rows, columns])
                if keeps(&tensor.name, bits, format, came_as) =>
            {
                Self::Kept(blocks, [rows, columns])
            }
            (_, &[rows, columns]) => Self::Encoded(format, [rows, columns]),
            _ => Self::Values,
        }
    }

    /// What the writer is told of `tensor`.
    pub(crate) fn plan(self, SourceTensor { name, shape, .. }: &SourceTensor) -> Planned {
        match self {
            Self::Kept(encoding, shape) => Planned::matrix(name, shape, encoding),
            Self::Encoded(format, shape) => Planned::matrix(name, shape, format.encoding(shape[1])),
            Self::Values => Planned::tensor(name, Dtype::F32, &shape[..]),
        }
    }

    /// Writes `tensor` of the model at `path`.
    pub(crate) fn write(
        self,
        tensor: &SourceTensor,
        path: &Path,
        writer: &mut WeightsWriter,
    ) -> Result<(), ImportError> {
        let SourceTensor { origin, name, read, .. } = tensor;
        // What is written is not to blame for a value that it cannot hold.
        let wrong = |format: WeightFormat, error: MatrixError| WeightsError::Tensor {
            path: path.to_owned(),
            name: origin.clone(),
            problem: format!("cannot be stored as {name} in {format}: {error}"),
        };
        let values = match read()? {
            Values::Blocks(blocks) if matches!(self, Self::Kept(..)) => {
                return Ok(writer.write(name, &blocks.into())?);
            }
            Values::Blocks(blocks) => blocks.dequantize(),
            Values::F32(values) => values,
        };
        match self {
            Self::Encoded(format, [rows, columns]) => {
                let matrix = encode(values, rows, columns, format);
                writer.write(name, &matrix.map_err(|error| wrong(format, error))?)?;
            }
            Self::Kept(..) | Self::Values => match writer.write_f32(name, &values) {
                Err(WeightsError::Value { source, .. }) => {
                    return Err(wrong(WeightFormat::F32, source).into());
                }
                written => written?,
            },
        }
        Ok(())
    }
}

/// Whether the blocks of `bits` bits that the tensor `name` comes in stay as they are in a bundle of
/// `format`: of the width that was asked for, or of a wider one that somebody chose for some matrices
/// of a 4 bit model, or where they are looked up.
fn keeps(name: &str, bits: Bits, format: WeightFormat, came_as: WeightFormat) -> bool {
    match (format, bits) {
        (WeightFormat::F32 | WeightFormat::F16, _) => false,
        _ if is_looked_up(name) => true,
        (WeightFormat::Q8, Bits::Eight) | (WeightFormat::Q4, Bits::Four) => true,
        (WeightFormat::Q4, Bits::Eight) => came_as == WeightFormat::Q4,
        (WeightFormat::Q8, Bits::Four) | (WeightFormat::Int8, _) => false,
    }
}

/// Whether rows of the matrix are taken, instead of products with all of it.
fn is_looked_up(name: &str) -> bool {
    matches!(name, "embedding.tokens.weight" | "head.vocabulary.weight")
}
