//! Exact products of integers: tokens quantized row by row, times matrices of 8 bit codes.
//!
//! A token's codes depend on nothing but the token, and the sums are exact: so what comes out does
//! not depend on batch mates, on the order of summation or on the number of threads.

use std::ops::Range;

use candle_core::Result;
use mobillm_weights::Int8RowsView;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rayon::ThreadPool;

use crate::numbers::{magnitude, round, vectorized};
use crate::product;
use crate::rows::map_rows;

/// Most products of two codes whose sum is exact in f32: `1024 * 127 * 127 < 2^24`.
const EXACT: usize = 1024;

/// Rows of `value = code * scale of the row`.
pub(crate) struct QuantizedRows {
    /// Integers from -127 to 127, `[rows, columns]`.
    codes: Array2<f32>,
    /// `[rows]`.
    scales: Vec<f32>,
}

/// The rows of `values`, each over 127 steps to its largest magnitude, halves rounded to even.
pub(crate) fn quantize(pool: &ThreadPool, values: ArrayView2<'_, f32>) -> Result<QuantizedRows> {
    let magnitudes = map_rows(pool, values, 1, |_, row, out| out[0] = magnitude(row))?;
    let scales: Vec<f32> = magnitudes.iter().map(|largest| largest / 127.0).collect();
    let codes = map_rows(pool, values, values.ncols(), |row, values, codes| {
        let scale = scales[row];
        let inverse = if scale < f32::MIN_POSITIVE { 0.0 } else { 1.0 / scale };
        for (code, value) in codes.iter_mut().zip(values) {
            *code = round(value * inverse);
        }
    })?;
    Ok(QuantizedRows { codes, scales })
}

/// Writes the products of `tokens` and the rows `columns` of `matrix` to `out` `[tokens, columns]`.
/// `panel` is a place to work in.
pub(crate) fn multiply(
    tokens: &QuantizedRows,
    matrix: &Int8RowsView<'_>,
    columns: Range<usize>,
    panel: &mut Vec<f32>,
    mut out: ArrayViewMut2<'_, f32>,
) -> Result<()> {
    let mut sums = Array2::<i32>::zeros(out.dim());
    for first in (0..matrix.columns).step_by(EXACT) {
        let depth = first..matrix.columns.min(first + EXACT);
        let codes = &matrix.quants[depth.start * matrix.rows..depth.end * matrix.rows];
        panel.clear();
        vectorized(|| {
            for codes in codes.chunks_exact(matrix.rows) {
                panel.extend(codes[columns.clone()].iter().map(|&code| f32::from(code)));
            }
        });
        let shape = (depth.len(), columns.len());
        let panel = ArrayView2::from_shape(shape, panel).map_err(candle_core::Error::wrap)?;
        product::multiply(1.0, tokens.codes.slice(s![.., depth]), panel, out.view_mut());
        vectorized(|| {
            for (mut sums, part) in sums.rows_mut().into_iter().zip(out.rows()) {
                sums.iter_mut().zip(part).for_each(|(sum, &part)| *sum += part as i32);
            }
        });
    }
    let scales = &matrix.scales[columns];
    vectorized(|| {
        let rows = out.rows_mut().into_iter().zip(sums.rows()).zip(&tokens.scales);
        for ((mut out, sums), token) in rows {
            for ((out, &sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                *out = sum as f32 * token * scale;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use mobillm_weights::Int8Rows;

    use super::*;

    /// Codes that are all of the largest magnitude, so that the sums are as large as they can be.
    #[test]
    fn sums_are_exact_however_many_there_are() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for inputs in [1, 1023, 1024, 1025, 5000] {
            let sign = |at: usize| if at % 1000 == 7 { -127_i8 } else { 127 };
            let quants: Vec<i8> = (0..inputs * 3).map(|at| sign(at / 3)).collect();
            let exact: i32 = quants.iter().step_by(3).map(|&code| 127 * i32::from(code)).sum();
            let matrix = Int8Rows::new([3, inputs], quants, vec![1.0, 0.5, 2.0]).unwrap();
            let tokens = quantize(&pool, Array2::from_elem((2, inputs), 127.0).view()).unwrap();
            let mut out = Array2::zeros((2, 2));
            let mut panel = Vec::new();
            multiply(&tokens, &matrix.view(), 1..3, &mut panel, out.view_mut()).unwrap();
            let sum = exact as f32;
            assert_eq!(out, ndarray::arr2(&[[0.5 * sum, 2.0 * sum]; 2]), "{inputs} inputs");
        }
    }

    #[test]
    fn a_row_is_quantized_to_its_own_magnitude() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let rows = ndarray::arr2(&[[127.0, 0.5, 1.5, -2.5], [0.0; 4], [-0.1, 0.1, 0.05, 0.0]]);
        let quantized = quantize(&pool, rows.view()).unwrap();
        assert_eq!(quantized.scales, [1.0, 0.0, 0.1 / 127.0]);
        let codes = [[127.0, 0.0, 2.0, -2.0], [0.0; 4], [-127.0, 127.0, 64.0, 0.0]];
        assert_eq!(quantized.codes, ndarray::arr2(&codes));
    }
}
