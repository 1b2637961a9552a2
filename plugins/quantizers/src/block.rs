//! Block-wise absmax codes: int8, nf4 and fp4.

use mobillm_core::quantizer::PayloadFormat;

use crate::by_row::{BadValue, RowCode, first_beyond};
use crate::codebook::Codebook;
use crate::kernel::Kernel;
use crate::scale::{self, F32_BYTES};

/// The largest int8 code. The code is symmetric: -128 is never written.
pub(crate) const INT8_MAX: f32 = 127.0;

/// What the numbers in [-1, 1] are rounded to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Levels {
    /// Multiples of 1/127.
    Int8,
    /// Sixteen levels.
    Nibbles(&'static Codebook),
}

/// A row as scales and then codes; see the crate's page for the bytes.
pub(crate) struct BlockCode {
    pub name: [u8; 4],
    pub levels: Levels,
    /// Values that share a scale: a power of two, 16 at least.
    pub block: usize,
    pub double_quantization: bool,
    pub kernel: &'static dyn Kernel,
}

/// Flag of payloads with double-quantized scales.
const DOUBLE_QUANTIZATION: u8 = 1;

/// What rounding adds to an error, relative to the scale. Normalizing, the thresholds (or levels) and
/// the final product round once or twice each, by 2^-24 of at most the scale: below 2^-21 together.
const ROUNDING: f64 = 1.0 / (1 << 21) as f64;
/// A product below the smallest normal number rounds by at most this.
const SMALLEST: f64 = f32::from_bits(1) as f64;

impl BlockCode {
    fn scale_bytes(&self, hidden: usize) -> usize {
        let blocks = hidden.div_ceil(self.block);
        match (hidden, self.double_quantization) {
            (0, _) => 0,
            (_, false) => blocks.saturating_mul(F32_BYTES),
            (_, true) => blocks.saturating_add(F32_BYTES),
        }
    }

    /// The blocks' scales; those that decoding uses only after [`scale::double_quantize`].
    fn absmax(&self, row: &[f32], scales: &mut Vec<f32>) {
        scales.resize(row.len().div_ceil(self.block), 0.0);
        self.kernel.absmax(row, self.block, scales);
    }

    fn check_codes(&self, codes: &[u8], hidden: usize) -> Result<(), String> {
        match self.levels {
            // A fold has no early exit, so it is vectorized.
            Levels::Int8 if codes.iter().fold(false, |found, &code| found | (code == 0x80)) => {
                Err("a code is -128; expected codes from -127 to 127".into())
            }
            Levels::Nibbles(_) if hidden % 2 == 1 && codes.last().is_some_and(|c| c >> 4 != 0) => {
                Err("the last nibble has no value; expected zero there".into())
            }
            _ => Ok(()),
        }
    }
}

impl RowCode for BlockCode {
    /// The scales of a row.
    type Scratch = Vec<f32>;

    fn format(&self) -> PayloadFormat {
        let flags = if self.double_quantization { DOUBLE_QUANTIZATION } else { 0 };
        PayloadFormat { name: self.name, version: 1, flags, block: self.block as u16 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        let codes = match self.levels {
            Levels::Int8 => hidden,
            Levels::Nibbles(_) => hidden.div_ceil(2),
        };
        self.scale_bytes(hidden).saturating_add(codes)
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        let mut scales = Vec::new();
        self.absmax(row, &mut scales);
        if self.double_quantization && !row.is_empty() {
            scale::double_quantize(&mut scales, &mut vec![0; self.scale_bytes(row.len())]);
        }
        let bound = |value: f32, scale: f32| {
            if scale == 0.0 {
                return 0.0;
            }
            let scale = f64::from(scale);
            let half_gap = match self.levels {
                Levels::Int8 => 0.5 / f64::from(INT8_MAX),
                Levels::Nibbles(book) => book.half_gap(f64::from(value) / scale),
            };
            round_up(scale * (half_gap + ROUNDING) + SMALLEST)
        };
        let blocks = row.chunks(self.block).zip(scales);
        blocks.flat_map(|(block, scale)| block.iter().map(move |&v| bound(v, scale))).collect()
    }

    fn encode_row(
        &self,
        row: &[f32],
        out: &mut [u8],
        scales: &mut Vec<f32>,
    ) -> Result<(), BadValue> {
        self.absmax(row, scales);
        if !scales.iter().all(|&scale| scale::is_scale(scale)) {
            let column = first_beyond(row, f32::MAX);
            return Err(BadValue { column, expected: "a finite number" });
        }
        let (scale_bytes, codes) = out.split_at_mut(self.scale_bytes(row.len()));
        match self.double_quantization {
            false => scale::write(scales, scale_bytes),
            true => scale::double_quantize(scales, scale_bytes),
        }
        match self.levels {
            Levels::Int8 => self.kernel.encode_int8(row, self.block, scales, codes),
            Levels::Nibbles(book) => {
                self.kernel.encode_nibbles(book, row, self.block, scales, codes);
            }
        }
        Ok(())
    }

    fn decode_row(
        &self,
        bytes: &[u8],
        row: &mut [f32],
        scales: &mut Vec<f32>,
    ) -> Result<(), String> {
        scales.resize(row.len().div_ceil(self.block), 0.0);
        let (scale_bytes, codes) = bytes.split_at(self.scale_bytes(row.len()));
        match self.double_quantization {
            false => scale::read(scale_bytes, scales)?,
            true => scale::double_dequantize(scale_bytes, scales)?,
        }
        self.check_codes(codes, row.len())?;
        match self.levels {
            Levels::Int8 => self.kernel.decode_int8(codes, self.block, scales, row),
            Levels::Nibbles(book) => {
                self.kernel.decode_nibbles(book, codes, self.block, scales, row);
            }
        }
        Ok(())
    }
}

/// The smallest f32 that is not below `number`.
fn round_up(number: f64) -> f32 {
    let rounded = number as f32;
    if f64::from(rounded) < number { rounded.next_up() } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebook::{FP4, NF4};
    use crate::kernel::fastest;

    fn code(levels: Levels, double_quantization: bool) -> BlockCode {
        let (name, block) = (*b"test", 16);
        BlockCode { name, levels, block, double_quantization, kernel: fastest() }
    }

    fn decoded(code: &BlockCode, row: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; code.row_bytes(row.len())];
        code.encode_row(row, &mut bytes, &mut Vec::new()).unwrap();
        let mut decoded = vec![f32::NAN; row.len()];
        code.decode_row(&bytes, &mut decoded, &mut Vec::new()).unwrap();
        decoded
    }

    #[test]
    fn levels_times_scale_are_kept_exactly() {
        for book in [&NF4, &FP4] {
            for scale in [1.0, 3.0, f32::MAX, 1e-40, f32::from_bits(1)] {
                let row: Vec<f32> = book.levels.iter().map(|level| level * scale).collect();
                assert_eq!(decoded(&code(Levels::Nibbles(book), false), &row), row);
            }
        }
        let row = [f32::MAX, f32::MIN, 0.0];
        assert_eq!(decoded(&code(Levels::Int8, false), &row), row);
    }

    /// The bound is no wish: somewhere the error comes close to it.
    #[test]
    fn the_bound_is_tight() {
        for (levels, double) in [
            (Levels::Int8, false),
            (Levels::Int8, true),
            (Levels::Nibbles(&NF4), false),
            (Levels::Nibbles(&NF4), true),
            (Levels::Nibbles(&FP4), false),
        ] {
            let code = code(levels, double);
            let tightest = (0..4000).map(|step| {
                let row = [1.0, step as f32 / 4000.0];
                let bound = code.error_bound(&row)[1];
                (decoded(&code, &row)[1] - row[1]).abs() / bound
            });
            let tightest = tightest.fold(0.0, f32::max);
            assert!((0.98..=1.0).contains(&tightest), "{levels:?} {double}: {tightest}");
        }
    }

    #[test]
    fn bad_values_are_refused_with_their_column() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut row = [1.0; 40];
            row[35] = value;
            let code = code(Levels::Int8, false);
            let mut out = vec![0; code.row_bytes(40)];
            let error = code.encode_row(&row, &mut out, &mut Vec::new());
            assert_eq!(error, Err(BadValue { column: 35, expected: "a finite number" }));
        }
    }

    #[test]
    fn what_is_never_written_is_damage() {
        let read = |code: &BlockCode, bytes: &[u8], hidden: usize| {
            code.decode_row(bytes, &mut vec![0.0; hidden], &mut Vec::new()).unwrap_err()
        };
        let one = 1f32.to_le_bytes();
        let int8 = code(Levels::Int8, false);
        assert!(read(&int8, &[&one[..], &[0x80]].concat(), 1).contains("-128"));
        let nf4 = code(Levels::Nibbles(&NF4), false);
        assert!(read(&nf4, &[&one[..], &[0x10]].concat(), 1).contains("last nibble"));
        let coded = code(Levels::Int8, true);
        let nan = f32::NAN.to_le_bytes();
        assert!(read(&coded, &[&nan[..], &[255, 1]].concat(), 1).contains("scale 0 is NaN"));
    }

    #[test]
    fn a_size_that_no_memory_holds_saturates() {
        let code = code(Levels::Int8, false);
        assert_eq!(code.row_bytes(usize::MAX), usize::MAX);
        assert_eq!(code.row_bytes(0), 0);
    }
}
