//! The chain of adapters, forward; backward is autograd's.
//!
//! The formulas are at [`Architecture`](mobillm_adapter_portable::Architecture).

use mobillm_adapter_portable::{Activation, Blueprint, Bottleneck, LAYER_NORM_EPSILON, PooledRows};
use mobillm_core::activations::ActivationBatch;
use tch::{TchError, Tensor};

use crate::tensors::{matrix, pooled_shares};

/// Raw outputs, `[samples, outputs]`.
pub(crate) fn forward(
    blueprint: &Blueprint,
    options: Bottleneck,
    weights: &[Tensor],
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Tensor, TchError> {
    let (adapters, [gates, head, bias]) = blueprint.chain_places(weights);
    let (device, hidden) = (head.device(), blueprint.hidden);
    let mu = gates.f_sigmoid()?;
    let mut carried: Option<Tensor> = None;
    for (tap, weights) in adapters.iter().enumerate() {
        let own = matrix(&rows.gather(batch.tap(tap), hidden), rows.rows(), hidden, device)?;
        let predecessor = match &carried {
            Some(before) => Some((before, mu.f_select(0, tap as i64 - 1)?)),
            None => None,
        };
        carried = Some(adapter(options.activation, weights, &own, predecessor)?);
    }
    let last = carried.ok_or_else(|| TchError::Shape("a network without taps".to_owned()))?;
    pooled_shares(blueprint, rows, device)?.f_matmul(&last)?.f_matmul(head)?.f_add(bias)
}

/// `h_t` from `A_t` and, but for the first adapter, `h_(t-1)` and `mu_t`.
fn adapter(
    activation: Activation,
    [gain, bias, down, up]: &[Tensor; 4],
    own: &Tensor,
    predecessor: Option<(&Tensor, Tensor)>,
) -> Result<Tensor, TchError> {
    let epsilon = f64::from(LAYER_NORM_EPSILON);
    let own = own.f_layer_norm(gain.size(), Some(gain), Some(bias), epsilon, false)?;
    let input = match predecessor {
        Some((before, mu)) => own.f_lerp_tensor(before, &mu)?,
        None => own,
    };
    let narrow = input.f_matmul(down)?;
    let active = match activation {
        Activation::Gelu => narrow.f_gelu("tanh")?,
        Activation::Relu => narrow.f_relu()?,
    };
    input.f_add(&active.f_matmul(up)?)
}
