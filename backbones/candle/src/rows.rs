//! Work on the rows of candle's tensors `[rows, columns]`: one row for each token that is no padding.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor};
use ndarray::{Array2, ArrayView2};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::numbers::vectorized;

/// Rows that one task works on.
const STRIP: usize = 16;

/// An operator of candle's that `compute` defines on matrices.
struct OnRows<F> {
    name: &'static str,
    compute: F,
}

impl<F: Fn(ArrayView2<'_, f32>) -> Result<Array2<f32>>> CustomOp1 for OnRows<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = view(storage, layout)?;
        let out = (self.compute)(rows)?;
        let shape = Shape::from(out.dim());
        Ok((CpuStorage::F32(into_values(out)), shape))
    }
}

/// What `compute` makes of the matrix `tensor`; errors call it `name`.
pub(crate) fn on_rows(
    name: &'static str,
    tensor: &Tensor,
    compute: impl Fn(ArrayView2<'_, f32>) -> Result<Array2<f32>>,
) -> Result<Tensor> {
    tensor.apply_op1_no_bwd(&OnRows { name, compute })
}

/// A tensor of `rows`.
pub(crate) fn tensor(rows: Array2<f32>) -> Result<Tensor> {
    let shape = rows.dim();
    Tensor::from_vec(into_values(rows), shape, &Device::Cpu)
}

/// What `read` makes of the matrix `tensor`, lent without a copy.
pub(crate) fn with_rows<T>(
    tensor: &Tensor,
    read: impl FnOnce(ArrayView2<'_, f32>) -> T,
) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(view(storage, layout)?)),
        _ => candle_core::bail!("expected a tensor on the CPU, got {tensor:?}"),
    }
}

fn view<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<ArrayView2<'a, f32>> {
    let shape = layout.shape().dims2()?;
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((from, to))) => {
            ArrayView2::from_shape(shape, &values[from..to]).map_err(candle_core::Error::wrap)
        }
        _ => candle_core::bail!("expected contiguous f32, got {layout:?}"),
    }
}

/// The numbers of a matrix that was made in standard order.
fn into_values(rows: Array2<f32>) -> Vec<f32> {
    rows.into_raw_vec_and_offset().0
}

/// The numbers of a matrix that lies in memory row behind row.
pub(crate) fn values(rows: ArrayView2<'_, f32>) -> Result<&[f32]> {
    let Some(values) = rows.to_slice() else { candle_core::bail!("expected contiguous rows") };
    Ok(values)
}

/// What `map` makes of each of `rows`, told its index, in a row of `columns` zeros; the threads share
/// the work.
pub(crate) fn map_rows(
    pool: &ThreadPool,
    rows: ArrayView2<'_, f32>,
    columns: usize,
    map: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) -> Result<Array2<f32>> {
    let (count, width) = rows.dim();
    let values = values(rows)?;
    let mut out = vec![0.0; count * columns];
    let strip = |(strip, (values, out)): (usize, (&[f32], &mut [f32]))| {
        vectorized(
            #[inline(always)]
            || {
                let rows = values.chunks_exact(width).zip(out.chunks_exact_mut(columns));
                for (row, (values, out)) in rows.enumerate() {
                    map(strip * STRIP + row, values, out);
                }
            },
        );
    };
    pool.install(|| {
        let strips = values.par_chunks(STRIP * width).zip(out.par_chunks_mut(STRIP * columns));
        strips.enumerate().for_each(strip);
    });
    Array2::from_shape_vec((count, columns), out).map_err(candle_core::Error::wrap)
}
