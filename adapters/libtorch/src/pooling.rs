//! Pooling over tokens, forward; backward is autograd's.
//!
//! The formulas are at [`Architecture`](mobillm_adapter_portable::Architecture).

use mobillm_adapter_portable::{Blueprint, LAYER_NORM_EPSILON, PooledRows};
use mobillm_core::activations::ActivationBatch;
use tch::{TchError, Tensor};

use crate::tensors::{matrix, pooled_shares};

/// Raw outputs, `[samples, outputs]`.
pub(crate) fn forward(
    blueprint: &Blueprint,
    weights: &[Tensor],
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Tensor, TchError> {
    let (projections, [bias, gain, norm_bias, head, head_bias]) = blueprint.pooling_places(weights);
    let (device, hidden) = (bias.device(), blueprint.hidden);
    let epsilon = f64::from(LAYER_NORM_EPSILON);
    let none = None::<&Tensor>;
    let mut projected = bias.f_expand([rows.rows() as i64, -1], false)?;
    for (tap, projection) in projections.iter().enumerate() {
        let own = matrix(&rows.gather(batch.tap(tap), hidden), rows.rows(), hidden, device)?;
        let own = own.f_layer_norm([hidden as i64], none, none, epsilon, false)?;
        projected = projected.f_add(&own.f_matmul(projection)?)?;
    }
    let normed =
        projected.f_layer_norm(gain.size(), Some(gain), Some(norm_bias), epsilon, false)?;
    let pooled = pooled_shares(blueprint, rows, device)?.f_matmul(&normed)?;
    let features = Tensor::f_cat(&[maxima(&normed, rows)?, pooled], 1)?;
    features.f_matmul(head)?.f_add(head_bias)
}

/// For each sample and channel the largest of its rows, `[samples, width]`.
fn maxima(normed: &Tensor, rows: &PooledRows) -> Result<Tensor, TchError> {
    let counts: Vec<i64> = rows.ranges().map(|range| range.len() as i64).collect();
    let samples = normed.f_split_with_sizes(counts, 0)?;
    let maxima = samples.iter().map(|sample| sample.f_amax([0_i64], false));
    Tensor::f_stack(&maxima.collect::<Result<Vec<_>, _>>()?, 0)
}
