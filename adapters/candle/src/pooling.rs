//! Pooling over tokens, forward and backward.
//!
//! The formulas are at [`Architecture`](mobillm_adapter_portable::Architecture).
//! Backward, with `N_t` for a tap's rows of mean 0 and variance 1, `n` for those of the projected rows
//! `z`, `y = gain n + bias`, and `*` for products of elements:
//!
//! ```text
//! y'       = the maximum's share to the row it came from, the pooled share to all pooled rows
//! gain'    = sum(y' * n)          bias' = sum(y')                      over the rows
//! z'       = scale (gain y' - mean(gain y') - n mean(gain y' * n))     over the channels
//! project' = N_t^T z'             bias' = sum(z')
//! ```
//!
//! Standardizing a tap again for its gradient costs less than keeping all taps twice.

use std::ops::Range;

use candle_core::{Result, Tensor};
use mobillm_adapter_portable::{Blueprint, PooledRows, Targets, Weights};
use mobillm_core::activations::ActivationBatch;

use crate::head::Head;
use crate::kernels::{
    add_by_mean, by_standardized, column_sums, column_sums_of_product, into_values, matrix,
    mean_row, product, standardize, with_values,
};
use crate::loss::loss_and_gradient;

/// The loss on `batch` and its gradient by each weight, in the order of the parameters.
pub(crate) fn loss_and_gradients(
    blueprint: &Blueprint,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
    targets: &Targets,
) -> Result<(f32, Weights)> {
    let network = Network::new(blueprint, weights)?;
    let trace = network.forward(batch, rows)?;
    let outputs = network.head.outputs(&trace.features)?;
    let (loss, by_output) = loss_and_gradient(&outputs, rows.samples(), targets);
    Ok((loss, network.backward(batch, rows, &trace, by_output)?))
}

/// Raw outputs, `[samples, outputs]`.
pub(crate) fn predict(
    blueprint: &Blueprint,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Vec<f32>> {
    let network = Network::new(blueprint, weights)?;
    network.head.outputs(&network.forward(batch, rows)?.features)
}

/// All weights by place.
struct Network<'a> {
    blueprint: &'a Blueprint,
    projections: Vec<Tensor>,
    bias: &'a [f32],
    norm_gain: &'a [f32],
    norm_bias: &'a [f32],
    head: Head<'a>,
}

/// What the forward pass keeps for the backward pass.
struct Trace {
    /// The projected rows at mean 0 and variance 1, `[rows, width]`.
    standard: Vec<f32>,
    /// What each was multiplied by for that.
    scales: Vec<f32>,
    /// For each sample and channel the row of the maximum, `[samples, width]`.
    winners: Vec<usize>,
    /// Of each sample the maxima, then the pooled rows, `[samples, 2 width]`.
    features: Tensor,
}

impl<'a> Network<'a> {
    fn new(blueprint: &'a Blueprint, weights: &'a Weights) -> Result<Self> {
        let (projections, [bias, norm_gain, norm_bias, head, head_bias]) =
            blueprint.pooling_places(weights);
        let (hidden, width) = (blueprint.hidden, bias.len());
        let project = |values: &Vec<f32>| matrix(values.clone(), hidden, width);
        let projections = projections.iter().map(project).collect::<Result<_>>()?;
        let head = Head::new(head, head_bias)?;
        Ok(Self { blueprint, projections, bias, norm_gain, norm_bias, head })
    }

    /// The rows of tap `tap` at mean 0 and variance 1, `[rows, hidden]`.
    fn standard_tap(
        &self,
        batch: &ActivationBatch,
        rows: &PooledRows,
        tap: usize,
    ) -> Result<Tensor> {
        let hidden = self.blueprint.hidden;
        let (standard, _) = standardize(&rows.gather(batch.tap(tap), hidden), hidden);
        matrix(standard, rows.rows(), hidden)
    }

    fn forward(&self, batch: &ActivationBatch, rows: &PooledRows) -> Result<Trace> {
        let width = self.bias.len();
        let mut projected = self.bias.repeat(rows.rows());
        for (tap, projection) in self.projections.iter().enumerate() {
            let share = product(&self.standard_tap(batch, rows, tap)?, projection)?;
            with_values(&share, |share| {
                projected.iter_mut().zip(share).for_each(|(sum, share)| *sum += share);
            })?;
        }
        let (standard, scales) = standardize(&projected, width);
        let mut normed = standard.clone();
        for row in normed.chunks_exact_mut(width) {
            let affine = self.norm_gain.iter().zip(self.norm_bias);
            row.iter_mut()
                .zip(affine)
                .for_each(|(value, (gain, bias))| *value = *value * gain + bias);
        }
        let (mut winners, mut features) = (Vec::new(), Vec::new());
        for range in rows.ranges() {
            let won = maxima(&normed, range.clone(), width);
            features.extend(won.iter().enumerate().map(|(at, row)| normed[row * width + at]));
            winners.extend(won);
            features.extend(mean_row(&normed, self.blueprint.pooled(range), width));
        }
        let features = matrix(features, rows.samples(), 2 * width)?;
        Ok(Trace { standard, scales, winners, features })
    }

    fn backward(
        &self,
        batch: &ActivationBatch,
        rows: &PooledRows,
        trace: &Trace,
        by_output: Vec<f32>,
    ) -> Result<Weights> {
        let width = self.bias.len();
        let (by_features, head) = self.head.backward(&trace.features, by_output)?;
        let mut by_normed = with_values(&by_features, |by| self.unpool(by, rows, &trace.winners))?;
        let norm_gain = column_sums_of_product(&by_normed, &trace.standard, width);
        let norm_bias = column_sums(&by_normed, width);
        for row in by_normed.chunks_exact_mut(width) {
            row.iter_mut().zip(self.norm_gain).for_each(|(by, gain)| *by *= gain);
        }
        let by_projected = by_standardized(by_normed, &trace.standard, &trace.scales, width);
        let bias = column_sums(&by_projected, width);
        let by_projected = matrix(by_projected, rows.rows(), width)?;
        let projection =
            |tap| into_values(product(&self.standard_tap(batch, rows, tap)?.t()?, &by_projected)?);
        let mut gradients =
            (0..self.projections.len()).map(projection).collect::<Result<Weights>>()?;
        gradients.extend([bias, norm_gain, norm_bias].into_iter().chain(head));
        Ok(gradients)
    }

    /// The gradient by the rows, `[rows, width]`, from that by the features.
    fn unpool(&self, by_features: &[f32], rows: &PooledRows, winners: &[usize]) -> Vec<f32> {
        let width = self.bias.len();
        let mut by_rows = vec![0.0; rows.rows() * width];
        let samples = by_features.chunks_exact(2 * width).zip(winners.chunks_exact(width));
        for (range, (by, winners)) in rows.ranges().zip(samples) {
            let (by_maxima, by_pooled) = by.split_at(width);
            for (at, (row, by)) in winners.iter().zip(by_maxima).enumerate() {
                by_rows[row * width + at] += by;
            }
            add_by_mean(&mut by_rows, self.blueprint.pooled(range), by_pooled);
        }
        by_rows
    }
}

/// For each channel the first of the rows `range` that has the largest value there.
fn maxima(values: &[f32], range: Range<usize>, width: usize) -> Vec<usize> {
    let mut winners = vec![range.start; width];
    for row in range {
        for (at, winner) in winners.iter_mut().enumerate() {
            if values[row * width + at] > values[*winner * width + at] {
                *winner = row;
            }
        }
    }
    winners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_first_maximum() {
        let values = [9.0, 9.0, 1.0, 5.0, 3.0, 5.0, 3.0, 2.0];
        assert_eq!(maxima(&values, 1..4, 2), [2, 1]);
        assert_eq!(maxima(&values, 3..4, 2), [3, 3]);
    }
}
