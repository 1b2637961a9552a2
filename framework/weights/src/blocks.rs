//! Blocks of 4 or 8 bit values that share a scale.

use std::ops::Range;

use crate::error::MatrixError;
use crate::format::{BLOCK, Bits, Encoding};
use crate::rows::{check_range, floor, inverse, largest, peak, rounded};

/// A matrix in blocks: each row is cut into blocks of `block` columns, and
/// `value = (code - zero) * scale (+ offset)`, where zero is 8 for 4 bits and 128 for 8.
///
/// This is how ONNX Runtime's `MatMulNBits` reads a matrix, but for the offsets. The blocks of GGML
/// fit without a change of any value: Q4_0, Q8_0 and Q6_K as they are, and those with a minimum
/// (Q4_1, Q4_K: `code * d + m`) with the scale d and the offset m + 8 d.
///
/// Its parts have the sizes that [`BlocksView`] says, and are read through [`Blocks::view`].
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    bits: Bits,
    block: usize,
    rows: usize,
    columns: usize,
    quants: Vec<u8>,
    scales: Vec<f32>,
    offsets: Option<Vec<f32>>,
}

impl Blocks {
    /// The matrix of these parts, as the fields of [`BlocksView`] describe them.
    ///
    /// # Errors
    /// If the parts do not have the sizes that `rows`, `columns` and `block` ask for, the block is no
    /// power of two from 16 on, or a scale or offset is not finite.
    pub fn new(
        bits: Bits,
        block: usize,
        [rows, columns]: [usize; 2],
        quants: Vec<u8>,
        scales: Vec<f32>,
        offsets: Option<Vec<f32>>,
    ) -> Result<Self, MatrixError> {
        let blocks = Self { bits, block, rows, columns, quants, scales, offsets };
        let BlocksView { scales, offsets, .. } = blocks.view().checked()?;
        for parts in [Some(scales), offsets].into_iter().flatten() {
            check_range(parts, columns / block, block, f32::MAX)?;
        }
        Ok(blocks)
    }

    /// Values `[rows, columns]`, which are in range, in blocks of 32 columns, which fill the rows.
    ///
    /// 8 bits: a block's scale is its largest magnitude over 127, codes are rounded to even. 4 bits: as
    /// GGML's Q4_0 the scale is the value of largest magnitude over -8, so that this value is exact.
    pub(crate) fn encode(bits: Bits, values: &[f32], [rows, columns]: [usize; 2]) -> Self {
        let (quants, scales) = match bits {
            Bits::Four => encode_each(values, encode_four),
            Bits::Eight => encode_each(values, encode_eight),
        };
        Self { bits, block: BLOCK, rows, columns, quants, scales, offsets: None }
    }

    /// Its parts, to read.
    pub fn view(&self) -> BlocksView<'_> {
        BlocksView {
            bits: self.bits,
            block: self.block,
            rows: self.rows,
            columns: self.columns,
            quants: &self.quants,
            scales: &self.scales,
            offsets: self.offsets.as_deref(),
        }
    }

    /// Its values `[rows, columns]`.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.rows * self.columns];
        self.view().dequantize(0..self.rows, &mut values);
        values
    }
}

/// [`Blocks`] whose parts lie elsewhere, such as in a mapped file.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct BlocksView<'a> {
    /// Bits of a value.
    pub bits: Bits,
    /// Columns that share a scale.
    pub block: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub columns: usize,
    /// Codes `[rows, columns / block, bytes of a block]`; of 4 bit codes the earlier in the low nibble.
    pub quants: &'a [u8],
    /// Scales `[rows, columns / block]`.
    pub scales: &'a [f32],
    /// Offsets `[rows, columns / block]`.
    pub offsets: Option<&'a [f32]>,
}

impl BlocksView<'_> {
    /// How it is stored.
    pub fn encoding(&self) -> Encoding {
        let offsets = self.offsets.is_some();
        Encoding::Blocks { bits: self.bits, block: self.block, offsets }
    }

    /// This, if its parts have the sizes that its shape asks for.
    pub(crate) fn checked(self) -> Result<Self, MatrixError> {
        let Self { bits, block, rows, columns, quants, scales, offsets } = self;
        let wrong = |problem| Err(MatrixError::Shape { rows, columns, problem });
        let values = self.encoding().check(rows, columns)?;
        let (bytes, blocks) = (bits.bytes(values), values / block);
        if quants.len() != bytes {
            return wrong(format!("has {} bytes of codes; expected {bytes}", quants.len()));
        }
        for (part, got) in [("scales", Some(scales)), ("offsets", offsets)] {
            if let Some(got) = got.map(<[f32]>::len)
                && got != blocks
            {
                return wrong(format!("has {got} {part}; expected {blocks}"));
            }
        }
        Ok(self)
    }

    /// Writes the values of `rows` to `out`, which holds just them.
    pub(crate) fn dequantize(&self, rows: Range<usize>, out: &mut [f32]) {
        let per_row = self.columns / self.block;
        let bytes = self.bits.bytes(self.block);
        let (from, to) = (rows.start * per_row, rows.end * per_row);
        let quants = self.quants[from * bytes..to * bytes].chunks_exact(bytes);
        let blocks = out.chunks_exact_mut(self.block).zip(quants);
        for ((out, quants), &scale) in blocks.zip(&self.scales[from..to]) {
            match self.bits {
                Bits::Four => decode_four(quants, scale, out),
                Bits::Eight => decode_eight(quants, scale, out),
            }
        }
        if let Some(offsets) = self.offsets {
            for (out, offset) in out.chunks_exact_mut(self.block).zip(&offsets[from..to]) {
                out.iter_mut().for_each(|value| *value += offset);
            }
        }
    }
}

/// Codes and scales of all blocks. Sizes are constants here: loops over a block then take no more time
/// to set up than to run.
fn encode_each<const BYTES: usize>(
    values: &[f32],
    encode: impl Fn(&[f32; BLOCK], &mut [u8; BYTES]) -> f32,
) -> (Vec<u8>, Vec<f32>) {
    let blocks = values.as_chunks().0;
    let mut quants = vec![[0; BYTES]; blocks.len()];
    let each = blocks.iter().zip(&mut quants);
    let scales = each.map(|(values, quants)| encode(values, quants)).collect();
    (quants.into_flattened(), scales)
}

fn encode_eight(values: &[f32; BLOCK], quants: &mut [u8; BLOCK]) -> f32 {
    let scale = largest(values) / 127.0;
    let inverse = inverse(scale);
    for (quant, value) in quants.iter_mut().zip(values) {
        *quant = rounded(value * inverse) ^ 0x80;
    }
    scale
}

fn encode_four(values: &[f32; BLOCK], quants: &mut [u8; BLOCK / 2]) -> f32 {
    let scale = extreme(values) / -8.0;
    let inverse = inverse(scale);
    // Halves are rounded up, as GGML does.
    let code = |value: f32| floor(value * inverse + 8.5).min(15);
    for (quant, &[low, high]) in quants.iter_mut().zip(values.as_chunks::<2>().0) {
        *quant = (code(low) | code(high) << 4) as u8;
    }
    scale
}

/// The first of the values that have the largest magnitude.
fn extreme(values: &[f32; BLOCK]) -> f32 {
    let (above, below) = (peak(values.iter().copied()), peak(values.iter().map(|value| -value)));
    if above > below {
        above
    } else if below > above {
        -below
    } else {
        values.iter().copied().find(|value| value.abs() == above).unwrap_or_default()
    }
}

fn decode_eight(quants: &[u8], scale: f32, out: &mut [f32]) {
    for (out, &quant) in out.iter_mut().zip(quants) {
        *out = (f32::from(quant) - 128.0) * scale;
    }
}

fn decode_four(quants: &[u8], scale: f32, out: &mut [f32]) {
    for ([low, high], &quant) in out.as_chunks_mut::<2>().0.iter_mut().zip(quants) {
        *low = (f32::from(quant & 15) - 8.0) * scale;
        *high = (f32::from(quant >> 4) - 8.0) * scale;
    }
}
