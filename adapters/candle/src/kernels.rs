//! Element-wise work on rows, in plain loops that the compiler vectorizes.

use std::iter::Sum;
use std::ops::{AddAssign, Range};

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use mobillm_adapter_portable::{Activation, LAYER_NORM_EPSILON};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ShapeBuilder};

/// Accumulators of a sum: enough to keep the vector units busy. Their number is part of the result.
const LANES: usize = 16;

/// Multiplications in the largest product that is not worth splitting among threads.
const SMALL: usize = 1 << 22;

/// A tensor `[rows, columns]` of `values`, without a copy.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

/// What `read` makes of the numbers of a contiguous f32 tensor, lent without a copy.
pub(crate) fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            Ok(read(&values[start..end]))
        }
        _ => candle_core::bail!("expected contiguous f32 on the CPU, got {tensor:?}"),
    }
}

/// The numbers of a contiguous f32 tensor.
pub(crate) fn into_values(tensor: Tensor) -> Result<Vec<f32>> {
    with_values(&tensor, <[f32]>::to_vec)
}

/// The matrix product `left right`.
///
/// Before each product candle counts the processors, on Linux by reading `/proc/cpuinfo`: 60 us where
/// there are two of them, and more where there are many. A small product takes less, and is ndarray's.
/// Which one it is depends on the shape alone, never on the number of threads: that changes no bit.
pub(crate) fn product(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let ((rows, depth), (_, columns)) = (left.dims2()?, right.dims2()?);
    if rows * depth * columns > SMALL {
        return left.matmul(right);
    }
    let mut product = Array2::zeros((rows, columns));
    with_view(left, |left| {
        with_view(right, |right| general_mat_mul(1.0, &left, &right, 0.0, &mut product))
    })??;
    matrix(product.into_raw_vec_and_offset().0, rows, columns)
}

/// What `read` makes of a matrix, lent without a copy, transposed or not.
fn with_view<T>(matrix: &Tensor, read: impl FnOnce(ArrayView2<'_, f32>) -> T) -> Result<T> {
    let (storage, layout) = matrix.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), [down, right]) = (&*storage, layout.stride())
    else {
        candle_core::bail!("expected an f32 matrix on the CPU, got {matrix:?}")
    };
    let shape = matrix.dims2()?.strides((*down, *right));
    let view = ArrayView2::from_shape(shape, &values[layout.start_offset()..]);
    view.map(read).map_err(candle_core::Error::wrap)
}

/// `left + right`.
pub(crate) fn add(left: &[f32], right: &Tensor) -> Result<Vec<f32>> {
    with_values(right, |right| left.iter().zip(right).map(|(left, right)| left + right).collect())
}

/// Rows of mean 0 and variance 1, a LayerNorm before its gain and bias; and what each row was
/// multiplied by.
pub(crate) fn standardize(rows: &[f32], columns: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut standard, mut scales) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows.chunks_exact(columns) {
        let mean = sum(row, |value| value) / columns as f32;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / columns as f32;
        let scale = 1.0 / (variance + LAYER_NORM_EPSILON).sqrt();
        standard.extend(row.iter().map(|value| (value - mean) * scale));
        scales.push(scale);
    }
    (standard, scales)
}

/// The gradient by the rows that [`standardize`] made `standard` and `scales` of, from that by
/// `standard`: `scale (g - mean(g) - n mean(g n))`.
pub(crate) fn by_standardized(
    mut gradient: Vec<f32>,
    standard: &[f32],
    scales: &[f32],
    columns: usize,
) -> Vec<f32> {
    let rows = gradient.chunks_exact_mut(columns).zip(standard.chunks_exact(columns));
    for ((by, standard), scale) in rows.zip(scales) {
        let mean = sum(by, |value| value) / columns as f32;
        let along = by.iter().zip(standard).map(|(by, standard)| by * standard);
        let along = along.sum::<f32>() / columns as f32;
        let off = by.iter_mut().zip(standard);
        off.for_each(|(by, standard)| *by = scale * (*by - mean - standard * along));
    }
    gradient
}

/// The sum of `term` over `values`.
pub(crate) fn sum<S>(values: &[f32], term: impl Fn(f32) -> S) -> S
where
    S: Copy + Default + AddAssign + Sum,
{
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [S::default(); LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += term(value));
    }
    lanes.into_iter().chain(rest.iter().map(|&value| term(value))).sum()
}

/// `left * right`, summed over the rows.
pub(crate) fn column_sums_of_product(left: &[f32], right: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for (left, right) in left.chunks_exact(columns).zip(right.chunks_exact(columns)) {
        let products = left.iter().zip(right).map(|(left, right)| left * right);
        sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }
    sums
}

/// The sum over the rows.
pub(crate) fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in rows.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The mean of the rows `range` of `rows`.
pub(crate) fn mean_row(
    rows: &[f32],
    range: Range<usize>,
    columns: usize,
) -> impl Iterator<Item = f32> {
    let count = range.len() as f32;
    let sums = column_sums(&rows[range.start * columns..range.end * columns], columns);
    sums.into_iter().map(move |sum| sum / count)
}

/// Adds to the gradient by the rows `range` what that by their mean gives each.
pub(crate) fn add_by_mean(by_rows: &mut [f32], range: Range<usize>, by_mean: &[f32]) {
    let (count, columns) = (range.len() as f32, by_mean.len());
    for row in by_rows[range.start * columns..range.end * columns].chunks_exact_mut(columns) {
        row.iter_mut().zip(by_mean).for_each(|(sum, by)| *sum += by / count);
    }
}

/// The activation at each of `values`, and its derivative there.
pub(crate) fn activate(activation: Activation, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let at = match activation {
        Activation::Gelu => gelu,
        Activation::Relu => relu,
    };
    let mut slope = values.to_vec();
    let active = slope.iter_mut().map(|value| {
        let (active, slope) = at(*value);
        *value = slope;
        active
    });
    (active.collect(), slope)
}

fn relu(x: f32) -> (f32, f32) {
    if x > 0.0 { (x, 1.0) } else { (0.0, 0.0) }
}

/// `x/2 (1 + tanh(u)) = x sigmoid(2u)`, of which the right side is the faster.
fn gelu(x: f32) -> (f32, f32) {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
    const CUBE: f32 = 0.044_715;
    let sigmoid = 1.0 / (1.0 + (-TWICE_SQRT_2_OVER_PI * (x + CUBE * x * x * x)).exp());
    let inner = TWICE_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBE * x * x);
    (x * sigmoid, sigmoid + x * sigmoid * (1.0 - sigmoid) * inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rows: usize, columns: usize) -> Tensor {
        let values = (0..rows * columns).map(|index| (index as f32 * 1.7).sin()).collect();
        matrix(values, rows, columns).unwrap()
    }

    fn plain(left: &Tensor, right: &Tensor) -> Vec<f64> {
        let rows = |matrix: &Tensor| matrix.to_vec2::<f32>().unwrap();
        let (left, columns) = (rows(left), rows(&right.t().unwrap()));
        let dot = |row: &[f32], column: &[f32]| {
            row.iter().zip(column).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        left.iter().flat_map(|row| columns.iter().map(|column| dot(row, column))).collect()
    }

    #[test]
    fn products_small_and_large_transposed_or_not_are_the_sums_they_stand_for() {
        for (rows, depth, columns) in [(1, 1, 1), (5, 3, 4), (16, 24, 9), (130, 300, 120)] {
            let (left, right) = (filled(rows, depth), filled(depth, columns));
            let left_across = filled(depth, rows).t().unwrap();
            let right_across = filled(columns, depth).t().unwrap();
            for left in [&left, &left_across] {
                for right in [&right, &right_across] {
                    let product = product(left, right).unwrap();
                    assert_eq!(product.dims(), [rows, columns]);
                    for (got, exact) in into_values(product).unwrap().iter().zip(plain(left, right))
                    {
                        assert!(
                            (f64::from(*got) - exact).abs() < 1e-5 * (1.0 + exact.abs()),
                            "{got} for {exact}"
                        );
                    }
                }
            }
        }
        const { assert!(130 * 300 * 120 > SMALL) };
    }
}
