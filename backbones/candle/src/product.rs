//! Matrix products: those of `gemm`, with which candle multiplies its tensors too.
//!
//! A tensor of candle's owns its numbers; here the factors may lie in a mapped file.

use gemm::{Parallelism, gemm};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Writes `scale * left right` to `out`, on the calling thread.
#[expect(unsafe_code, reason = "gemm takes pointers")]
pub(crate) fn multiply(
    scale: f32,
    left: ArrayView2<'_, f32>,
    right: ArrayView2<'_, f32>,
    mut out: ArrayViewMut2<'_, f32>,
) {
    let ((rows, depth), columns) = (left.dim(), right.ncols());
    assert_eq!((right.nrows(), out.dim()), (depth, (rows, columns)), "the factors fit the product");
    let strides = |strides: &[isize]| (strides[0], strides[1]);
    let (left_down, left_across) = strides(left.strides());
    let (right_down, right_across) = strides(right.strides());
    let (out_down, out_across) = strides(out.strides());
    // SAFETY: each pointer comes with the shape and strides of a view that lives until gemm returns,
    // the shapes were found to fit, and `out`, borrowed mutably, overlaps neither factor.
    unsafe {
        gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            out_across,
            out_down,
            false,
            left.as_ptr(),
            left_across,
            left_down,
            right.as_ptr(),
            right_across,
            right_down,
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ShapeBuilder, s};
    use proptest::prelude::*;

    use super::*;

    fn filled(rows: usize, columns: usize, turned: bool) -> Array2<f32> {
        let at = |(row, column)| ((row * 31 + column * 17) as f32 * 1.7).sin();
        Array2::from_shape_fn((rows, columns).set_f(turned), at)
    }

    proptest! {
        #[test]
        fn it_is_the_sum_it_stands_for_and_touches_nothing_else(
            rows in 1..40_usize,
            depth in 1..70_usize,
            columns in 1..40_usize,
            turned in any::<(bool, bool)>(),
        ) {
            let left = filled(rows, depth, turned.0);
            let right = filled(depth, columns, turned.1);
            let mut out = Array2::from_elem((rows + 2, columns + 2), 7.0);
            multiply(0.5, left.view(), right.view(), out.slice_mut(s![1..=rows, 1..=columns]));
            for ((row, column), &got) in out.indexed_iter() {
                let inside = (1..=rows).contains(&row) && (1..=columns).contains(&column);
                let exact = if inside {
                    let (left, right) = (left.row(row - 1), right.column(column - 1));
                    let products = left.iter().zip(right).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    0.5 * products.sum::<f64>()
                } else {
                    7.0
                };
                prop_assert!((f64::from(got) - exact).abs() < 1e-5, "{got} for {exact}");
            }
        }
    }
}
