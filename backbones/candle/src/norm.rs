//! Norms of hidden states.

use candle_core::{Result, Tensor};
use mobillm_bundle::network::NormKind;
use rayon::ThreadPool;

use crate::numbers::sum;
use crate::rows::{map_rows, on_rows};

/// A norm with its weights.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) kind: NormKind,
    pub(crate) epsilon: f32,
    /// `[columns]`.
    pub(crate) weight: &'a [f32],
    /// `[columns]`.
    pub(crate) bias: Option<&'a [f32]>,
}

impl Norm<'_> {
    /// The norm of each token, `[tokens, columns]`.
    pub(crate) fn apply(&self, pool: &ThreadPool, tokens: &Tensor) -> Result<Tensor> {
        on_rows("norm", tokens, |tokens| {
            map_rows(pool, tokens, tokens.ncols(), |_, token, out| {
                out.copy_from_slice(token);
                self.of(out);
            })
        })
    }

    /// Norms one row in place.
    #[inline(always)]
    pub(crate) fn of(&self, row: &mut [f32]) {
        let columns = row.len() as f32;
        if let NormKind::Layer = self.kind {
            let mean = sum(row, |value| value) / columns;
            row.iter_mut().for_each(|value| *value -= mean);
        }
        let variance = sum(row, |value| value * value) / columns;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for (value, weight) in row.iter_mut().zip(self.weight) {
            *value = *value * scale * weight;
        }
        if let Some(bias) = self.bias {
            row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_equation() {
        let row: Vec<f32> = (0..37).map(|at| (at as f32 * 1.3).sin() + 0.4).collect();
        let weight: Vec<f32> = (0..37).map(|at| 1.0 + at as f32 * 0.01).collect();
        let bias: Vec<f32> = (0..37).map(|at| at as f32 * 0.1).collect();
        let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / 37.0;
        for (kind, center, bias) in
            [(NormKind::Layer, mean, Some(&bias[..])), (NormKind::Rms, 0.0, None)]
        {
            let squares = row.iter().map(|&value| (f64::from(value) - center).powi(2));
            let deviation = (squares.sum::<f64>() / 37.0 + 1e-5).sqrt();
            let mut normed = row.clone();
            Norm { kind, epsilon: 1e-5, weight: &weight, bias }.of(&mut normed);
            for (at, got) in normed.into_iter().enumerate() {
                let standard = (f64::from(row[at]) - center) / deviation;
                let bias = bias.map_or(0.0, |bias| f64::from(bias[at]));
                let exact = standard * f64::from(weight[at]) + bias;
                assert!((f64::from(got) - exact).abs() < 1e-6, "{got} for {exact}");
            }
        }
    }
}
