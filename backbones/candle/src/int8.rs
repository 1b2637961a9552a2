//! Rows of tokens, quantized, and their products with matrices of 8 bit codes: the kernels of
//! [`mobillm_int8`] on the backbone's threads.

use candle_core::Result;
use mobillm_int8::{Isa, Product, Shared, quantize};
use mobillm_weights::Int8RowsView;
use ndarray::ArrayView2;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::rows::values;

/// Rows of `value = quant * scale of the row`.
pub(crate) struct QuantizedRows {
    /// `[rows, columns]`.
    quants: Vec<i16>,
    /// `[rows]`.
    scales: Vec<f32>,
}

impl QuantizedRows {
    /// The rows of `tokens`, each by itself.
    pub(crate) fn of(pool: &ThreadPool, tokens: ArrayView2<'_, f32>) -> Result<Self> {
        let (rows, columns) = tokens.dim();
        let tokens = values(tokens)?;
        let isa = Isa::fastest();
        let mut quants = vec![0; rows * columns];
        let parts = tokens.par_chunks(columns).zip(quants.par_chunks_mut(columns));
        let scales = pool.install(|| parts.map(|(row, out)| quantize(isa, row, out)).collect());
        Ok(Self { quants, scales })
    }

    /// Writes the map by `weight` and `bias` to the columns from `from` on of `out` `[rows, width]`, and
    /// adds those of `residual`, which is laid out as `out`.
    #[expect(unsafe_code, reason = "threads write parts of one output")]
    pub(crate) fn multiply(
        &self,
        pool: &ThreadPool,
        weight: &Int8RowsView<'_>,
        bias: Option<&[f32]>,
        residual: Option<&[f32]>,
        from: usize,
        out: &mut [f32],
    ) -> Result<()> {
        let product = Product {
            quants: &self.quants,
            scales: &self.scales,
            weight: weight.quants,
            weight_scales: weight.scales,
            bias,
            residual,
            width: out.len() / self.scales.len().max(1),
            from,
        };
        product.check().map_err(candle_core::Error::msg)?;
        let (isa, out) = (Isa::fastest(), Shared::new(out));
        pool.install(|| {
            // SAFETY: the product was checked, and each task runs once.
            let run = |task| unsafe { product.run(isa, task, &out) };
            (0..product.tasks()).into_par_iter().for_each(run);
        });
        Ok(())
    }
}
