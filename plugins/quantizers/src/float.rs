//! The codes without scales: f32 as it is, and half precision.

use mobillm_core::quantizer::PayloadFormat;

use crate::by_row::{BadValue, RowCode, first_beyond};
use crate::kernel::Kernel;
use crate::scale::F32_BYTES;

/// Bytes of a half.
const F16_BYTES: usize = 2;
/// The largest half.
const F16_MAX: f32 = 65504.0;
/// The smallest positive normal half is 2^-14.
const F16_MIN_EXPONENT: i32 = -14;
/// What bytes have to decode to.
const FINITE: &str = "a finite number";

/// f32, little-endian.
pub(crate) struct PlainCode {
    pub kernel: &'static dyn Kernel,
}

impl RowCode for PlainCode {
    type Scratch = ();

    fn format(&self) -> PayloadFormat {
        PayloadFormat { name: *b"none", version: 1, flags: 0, block: 0 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        hidden.saturating_mul(F32_BYTES)
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        vec![0.0; row.len()]
    }

    fn encode_row(&self, row: &[f32], out: &mut [u8], (): &mut ()) -> Result<(), BadValue> {
        let largest = self.kernel.encode_plain(row, out.as_chunks_mut().0);
        expect_magnitudes(row, largest, f32::MAX, FINITE)
    }

    fn decode_row(&self, bytes: &[u8], row: &mut [f32], (): &mut ()) -> Result<(), String> {
        let largest = self.kernel.decode_plain(bytes.as_chunks().0, row);
        expect_magnitudes(row, largest, f32::MAX, FINITE).map_err(|bad| damage(row, &bad))
    }
}

/// IEEE half precision, little-endian, rounded to nearest even.
pub(crate) struct HalfCode {
    pub kernel: &'static dyn Kernel,
}

impl RowCode for HalfCode {
    type Scratch = ();

    fn format(&self) -> PayloadFormat {
        PayloadFormat { name: *b"fp16", version: 1, flags: 0, block: 0 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        hidden.saturating_mul(F16_BYTES)
    }

    /// Half a unit in the last place of the half: 11 significant bits, fewer below 2^-14.
    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        let exponent = |value: f32| (value.abs().to_bits() >> 23) as i32 - 127;
        row.iter().map(|&value| 2f32.powi(exponent(value).max(F16_MIN_EXPONENT) - 11)).collect()
    }

    fn encode_row(&self, row: &[f32], out: &mut [u8], (): &mut ()) -> Result<(), BadValue> {
        let largest = self.kernel.encode_fp16(row, out.as_chunks_mut().0);
        let expected = "a magnitude up to 65504; use int8 or nf4 for larger ones";
        expect_magnitudes(row, largest, F16_MAX, expected)
    }

    fn decode_row(&self, bytes: &[u8], row: &mut [f32], (): &mut ()) -> Result<(), String> {
        let largest = self.kernel.decode_fp16(bytes.as_chunks().0, row);
        expect_magnitudes(row, largest, F16_MAX, FINITE).map_err(|bad| damage(row, &bad))
    }
}

/// Finds the value to blame where `largest`, the bits of the row's largest magnitude, exceeds `limit`.
/// Bits, because no comparison of floats holds for a NaN.
fn expect_magnitudes(
    row: &[f32],
    largest: u32,
    limit: f32,
    expected: &'static str,
) -> Result<(), BadValue> {
    if largest <= limit.to_bits() {
        return Ok(());
    }
    Err(BadValue { column: first_beyond(row, limit), expected })
}

fn damage(row: &[f32], bad: &BadValue) -> String {
    format!("column {} is {}; expected {}", bad.column, row[bad.column], bad.expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fastest;

    #[test]
    fn bad_values_are_refused_with_their_column() {
        let mut row = vec![1.0; 40];
        for (column, value) in [(0, f32::NAN), (17, f32::INFINITY), (39, -f32::NAN)] {
            row.fill(1.0);
            row[column] = value;
            let error = PlainCode { kernel: fastest() }.encode_row(&row, &mut [0; 160], &mut ());
            assert_eq!(error, Err(BadValue { column, expected: FINITE }));
            let error = HalfCode { kernel: fastest() }.encode_row(&row, &mut [0; 80], &mut ());
            assert_eq!(error.map_err(|bad| bad.column), Err(column));
        }
    }

    #[test]
    fn a_half_holds_up_to_65504() {
        let code = HalfCode { kernel: fastest() };
        let encode = |value: f32| code.encode_row(&[0.0, value], &mut [0; 4], &mut ());
        assert_eq!(encode(-F16_MAX), Ok(()));
        let error = encode(F16_MAX.next_up()).unwrap_err();
        assert_eq!(error.column, 1);
        assert!(error.expected.contains("use int8 or nf4"));
    }

    #[test]
    fn what_decodes_to_no_number_is_damage() {
        let bytes = [1f32, f32::NAN].map(f32::to_le_bytes).concat();
        let error = PlainCode { kernel: fastest() }.decode_row(&bytes, &mut [0.0; 2], &mut ());
        assert_eq!(error, Err("column 1 is NaN; expected a finite number".into()));
        let error = HalfCode { kernel: fastest() }.decode_row(&[0, 0x7c], &mut [0.0], &mut ());
        assert_eq!(error, Err("column 0 is inf; expected a finite number".into()));
    }
}
