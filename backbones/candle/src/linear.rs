//! Linear maps whose matrices stay as the bundle's file has them.
//!
//! A task takes a few rows of a matrix, as many as fit a processor's cache, makes f32 of them (those
//! that are f32 are used where they lie) and multiplies all tokens with them. So no more than one such
//! panel for each thread is ever held beside the mapped file.
//!
//! candle's own product with quantized matrices rounds the other factor to 8 bit as well, block by
//! block: for normally distributed numbers an error of 0.5% of each product's norm, where taps are to
//! agree to 0.1%. Here activations stay f32, but for int8 matrices, which ask for integers.

use std::ops::Range;

use candle_core::{Result, Tensor};
use mobillm_weights::Matrix;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::int8::QuantizedRows;
use crate::product::multiply;
use crate::rows::{on_rows, values, with_rows};

/// Rows in a panel: what the widest vectors of `gemm` take at a time. With 96, a third of them would
/// go through a slower kernel.
const PANEL: usize = 64;

/// `weight x + bias`.
#[derive(Clone, Copy)]
pub(crate) struct LinearMap<'a> {
    /// `[outputs, inputs]`.
    pub(crate) weight: Matrix<'a>,
    /// `[outputs]`.
    pub(crate) bias: Option<&'a [f32]>,
}

/// Linear maps of the same inputs, their outputs side by side.
pub(crate) struct Linear<'a>(pub(crate) Vec<LinearMap<'a>>);

/// The outputs `columns` of `map`, to be written to `out` `[tokens, columns]`.
struct Task<'a, 'out> {
    map: LinearMap<'a>,
    columns: Range<usize>,
    out: ArrayViewMut2<'out, f32>,
    /// What is added to them.
    residual: Option<ArrayView2<'out, f32>>,
}

impl Linear<'_> {
    /// The maps of `tokens` `[tokens, inputs]`: `[tokens, outputs of all maps]`.
    pub(crate) fn apply(&self, pool: &ThreadPool, tokens: &Tensor) -> Result<Tensor> {
        on_rows("linear", tokens, |tokens| self.compute(pool, tokens, None))
    }

    /// The same added to `residual`, which has its shape. (candle's own sum of large tensors runs on all
    /// processors, however few threads it is given.)
    pub(crate) fn add_to(
        &self,
        residual: &Tensor,
        pool: &ThreadPool,
        tokens: &Tensor,
    ) -> Result<Tensor> {
        with_rows(residual, |residual| {
            on_rows("linear", tokens, |tokens| self.compute(pool, tokens, Some(residual)))
        })?
    }

    /// The same on matrices, added to `residual` if there is one.
    pub(crate) fn compute(
        &self,
        pool: &ThreadPool,
        tokens: ArrayView2<'_, f32>,
        residual: Option<ArrayView2<'_, f32>>,
    ) -> Result<Array2<f32>> {
        let outputs: usize = self.0.iter().map(|map| map.weight.rows()).sum();
        let mut out = vec![0.0; tokens.nrows() * outputs];
        self.multiply_integers(pool, tokens, residual, &mut out)?;
        let shape = (tokens.nrows(), outputs);
        let mut out = Array2::from_shape_vec(shape, out).map_err(candle_core::Error::wrap)?;
        let tasks = self.tasks(out.view_mut(), residual);
        pool.install(|| {
            let run = |panel: &mut Vec<f32>, task: Task<'_, '_>| task.run(tokens, panel);
            tasks.into_par_iter().try_for_each_init(Vec::new, run)
        })?;
        Ok(out)
    }

    /// The maps whose matrices are int8, to their columns of `out` `[tokens, outputs]`.
    fn multiply_integers(
        &self,
        pool: &ThreadPool,
        tokens: ArrayView2<'_, f32>,
        residual: Option<ArrayView2<'_, f32>>,
        out: &mut [f32],
    ) -> Result<()> {
        let residual = residual.map(values).transpose()?;
        let mut quantized = None;
        let mut from = 0;
        for map in &self.0 {
            if let Matrix::Int8(weight) = &map.weight {
                let tokens = match &mut quantized {
                    Some(tokens) => tokens,
                    none => none.insert(QuantizedRows::of(pool, tokens)?),
                };
                tokens.multiply(pool, weight, map.bias, residual, from, out)?;
            }
            from += map.weight.rows();
        }
        Ok(())
    }

    /// The other maps.
    fn tasks<'a>(
        &'a self,
        mut out: ArrayViewMut2<'a, f32>,
        mut residual: Option<ArrayView2<'a, f32>>,
    ) -> Vec<Task<'a, 'a>> {
        let mut tasks = Vec::new();
        for &map in &self.0 {
            let outputs = map.weight.rows();
            for first in (0..outputs).step_by(PANEL) {
                let columns = first..outputs.min(first + PANEL);
                let (mine, others) = out.split_at(Axis(1), columns.len());
                let (added, rest) =
                    residual.map(|residual| residual.split_at(Axis(1), columns.len())).unzip();
                (out, residual) = (others, rest);
                if !matches!(map.weight, Matrix::Int8(_)) {
                    tasks.push(Task { map, columns, out: mine, residual: added });
                }
            }
        }
        tasks
    }
}

impl Task<'_, '_> {
    fn run(mut self, tokens: ArrayView2<'_, f32>, panel: &mut Vec<f32>) -> Result<()> {
        let columns = self.columns.clone();
        match &self.map.weight {
            Matrix::F32 { columns: inputs, values, .. } => {
                let panel = &values[columns.start * inputs..columns.end * inputs];
                self.multiply(tokens, panel)?;
            }
            weight => {
                panel.resize(columns.len() * weight.columns(), 0.0);
                weight.dequantize_rows(columns, panel).map_err(candle_core::Error::wrap)?;
                self.multiply(tokens, panel)?;
            }
        }
        if let Some(bias) = self.map.bias {
            self.out += &ArrayView1::from(&bias[self.columns]);
        }
        if let Some(residual) = self.residual {
            self.out += &residual;
        }
        Ok(())
    }

    /// The products of `tokens` and the rows that `panel` holds.
    fn multiply(&mut self, tokens: ArrayView2<'_, f32>, panel: &[f32]) -> Result<()> {
        let shape = (self.columns.len(), tokens.ncols());
        let panel = ArrayView2::from_shape(shape, panel).map_err(candle_core::Error::wrap)?;
        multiply(1.0, tokens, panel.t(), self.out.view_mut());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use mobillm_weights::{Bits, Blocks, Encoded, WeightFormat, encode};

    use super::*;

    fn numbers(count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * 1.7 + (at / 13) as f32).sin() * scale).collect()
    }

    /// A matrix of every encoding, those that only foreign files bring included.
    fn encodings(rows: usize, columns: usize) -> Vec<Encoded> {
        let values = || numbers(rows * columns, 0.5);
        let blocks = |bits, block: usize, codes: u32, offsets: bool| {
            let codes = (0..rows * columns).map(|at| (at * at % 251) as u32 % codes);
            let count = rows * columns / block;
            let offsets = offsets.then(|| numbers(count, 0.1));
            let (codes, scales) = (codes.map(|code| code as u8).collect(), numbers(count, 0.01));
            Blocks::from_codes(bits, block, [rows, columns], codes, scales, offsets).unwrap()
        };
        let foreign = [
            blocks(Bits::Four, 32, 16, true),
            blocks(Bits::Four, 32, 16, false),
            blocks(Bits::Eight, 16, 251, false),
        ];
        let asked =
            WeightFormat::ALL.map(|format| encode(values(), rows, columns, format).unwrap());
        asked.into_iter().chain(foreign.map(Encoded::Blocks)).collect()
    }

    fn dequantized(matrix: &Matrix<'_>) -> Vec<f32> {
        let mut values = vec![0.0; matrix.rows() * matrix.columns()];
        matrix.dequantize_rows(0..matrix.rows(), &mut values).unwrap();
        values
    }

    /// Maps side by side, of more rows than a panel has.
    #[test]
    fn every_encoding_multiplies_as_its_dequantized_values_do() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (tokens, inputs) = (5, 64);
        let bias = numbers(300, 1.0);
        let x = Tensor::from_vec(numbers(tokens * inputs, 2.0), (tokens, inputs), &Device::Cpu);
        let x = x.unwrap();
        for (first, second) in encodings(300, inputs).iter().zip(encodings(7, inputs)) {
            let maps = [(first.matrix(), Some(&bias[..])), (second.matrix(), None)];
            let maps = maps.map(|(weight, bias)| LinearMap { weight, bias });
            let out = Linear(maps.to_vec()).apply(&pool, &x).unwrap();
            assert_eq!(out.dims(), [tokens, 307]);
            // int8 quantizes the tokens too.
            let is_int8 = matches!(first, Encoded::Int8(_));
            let tolerance = if is_int8 { 2e-3 } else { 1e-4 };
            let weights = maps.map(|map| dequantized(&map.weight)).concat();
            let exact = |token: &[f32], output: usize| {
                let weights = weights[output * inputs..].iter().zip(token);
                let sum: f64 = weights.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                sum + bias.get(output).map_or(0.0, |bias| f64::from(*bias))
            };
            let x = x.to_vec2::<f32>().unwrap();
            with_rows(&out, |out| {
                for ((token, output), &got) in out.indexed_iter() {
                    let exact = exact(&x[token], output);
                    let encoding = first.matrix().encoding();
                    assert!(
                        (f64::from(got) - exact).abs() < tolerance,
                        "{encoding:?} {token} {output}: {got} for {exact}"
                    );
                }
            })
            .unwrap();
        }
    }
}
