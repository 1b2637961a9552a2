//! What the encoders share: sizes, ranges, rounding.

use crate::error::MatrixError;

/// The values of a matrix of `rows` x `columns`.
pub(crate) fn checked_area(rows: usize, columns: usize) -> Result<usize, MatrixError> {
    let wrong = |problem: &str| MatrixError::Shape { rows, columns, problem: problem.to_owned() };
    match rows.checked_mul(columns) {
        None => Err(wrong("has more values than there are addresses")),
        Some(0) => Err(wrong("is empty; expected at least one row and one column")),
        Some(values) => Ok(values),
    }
}

/// The largest of `values` that are above zero, or zero. NaN counts as above infinity.
pub(crate) fn peak(values: impl Iterator<Item = f32>) -> f32 {
    // As integers, floats above zero are in their order and all others are negative: integers are
    // compared faster than floats, of which one may be NaN.
    let bits = values.map(|value| value.to_bits() as i32);
    f32::from_bits(bits.fold(0, i32::max) as u32)
}

/// The largest magnitude in `values`.
pub(crate) fn largest(values: &[f32]) -> f32 {
    peak(values.iter().map(|value| value.abs()))
}

/// Refuses NaN and magnitudes above `limit` in `values`, of which `per_row` are in a row and each
/// stands for `width` columns.
pub(crate) fn check_range(
    values: &[f32],
    per_row: usize,
    width: usize,
    limit: f32,
) -> Result<(), MatrixError> {
    if largest(values) <= limit {
        return Ok(());
    }
    let at = values.iter().take_while(|value| value.abs() <= limit).count();
    let (row, column) = (at / per_row, at % per_row * width);
    Err(MatrixError::Value { row, column, value: values[at], limit })
}

/// `value`, of magnitude 127 at most, rounded to the nearest integer, halves to the even one, as the
/// bits of an i8.
pub(crate) fn rounded(value: f32) -> u8 {
    // The sum is rounded, and its low bits are the integer. This is a single addition on every
    // machine, which rounding and casts are not.
    (value + INTEGERS).to_bits() as u8
}

/// `value`, from 0 to 127, without its fraction.
pub(crate) fn floor(value: f32) -> u32 {
    let rounded = value + INTEGERS;
    let above = rounded - INTEGERS > value;
    rounded.to_bits() - INTEGERS.to_bits() - u32::from(above)
}

/// A number from which on floats, up to its next power of two, are the integers.
const INTEGERS: f32 = 12_582_912.0;

/// One over `scale`; zero for scales so small that it would overflow: then all codes are zero.
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale.abs() < f32::MIN_POSITIVE { 0.0 } else { 1.0 / scale }
}
