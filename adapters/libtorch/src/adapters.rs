//! The chain of adapters, forward; backward is autograd's.
//!
//! The formulas are at [`Architecture`](mobillm_adapter_portable::Architecture).

use mobillm_adapter_portable::{Activation, Blueprint, LAYER_NORM_EPSILON, PooledRows, Targets};
use mobillm_core::activations::ActivationBatch;
use tch::{Device, Reduction, TchError, Tensor};

use crate::tensors::matrix;

/// The loss on `batch` and its gradient by each weight, in the order of the parameters.
pub(crate) fn loss_and_gradients(
    blueprint: &Blueprint,
    weights: &[Tensor],
    batch: &ActivationBatch,
    rows: &PooledRows,
    targets: &Targets,
) -> Result<(f32, Vec<Tensor>), TchError> {
    let leaf = |weight: &Tensor| weight.f_detach()?.f_set_requires_grad(true);
    let leaves = weights.iter().map(leaf).collect::<Result<Vec<_>, _>>()?;
    let outputs = forward(blueprint, &leaves, batch, rows)?;
    let loss = loss(&outputs, targets)?;
    let gradients = Tensor::f_run_backward(&[&loss], &leaves, false, false)?;
    // one tap alone has no gates, so that nothing flows to that (empty) tensor
    let defined = gradients.into_iter().zip(&leaves).map(|(gradient, leaf)| {
        if gradient.defined() { Ok(gradient) } else { leaf.f_detach()?.f_zeros_like() }
    });
    let gradients = defined.collect::<Result<Vec<_>, _>>()?;
    Ok((loss.f_double_value(&[])? as f32, gradients))
}

/// Raw outputs, `[samples, outputs]`.
pub(crate) fn predict(
    blueprint: &Blueprint,
    weights: &[Tensor],
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Tensor, TchError> {
    let _guard = tch::no_grad_guard();
    forward(blueprint, weights, batch, rows)
}

fn forward(
    blueprint: &Blueprint,
    weights: &[Tensor],
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Tensor, TchError> {
    let (adapters, [gates, head, bias]) = blueprint.by_place(weights);
    let (device, hidden) = (head.device(), blueprint.hidden);
    let mu = gates.f_sigmoid()?;
    let activation = blueprint.architecture.bottleneck().activation;
    let mut carried: Option<Tensor> = None;
    for (tap, weights) in adapters.iter().enumerate() {
        let own = matrix(&rows.gather(batch.tap(tap), hidden), rows.rows(), hidden, device)?;
        let predecessor = match &carried {
            Some(before) => Some((before, mu.f_select(0, tap as i64 - 1)?)),
            None => None,
        };
        carried = Some(adapter(activation, weights, &own, predecessor)?);
    }
    let last = carried.ok_or_else(|| TchError::Shape("a network without taps".to_owned()))?;
    pool(rows, device)?.f_matmul(&last)?.f_matmul(head)?.f_add(bias)
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

/// The matrix `[samples, rows]` that takes the mean of each sample's rows.
fn pool(rows: &PooledRows, device: Device) -> Result<Tensor, TchError> {
    let mut shares = vec![0.0; rows.samples() * rows.rows()];
    for (range, sample) in rows.ranges().zip(shares.chunks_exact_mut(rows.rows())) {
        let share = 1.0 / range.len() as f32;
        sample[range].fill(share);
    }
    matrix(&shares, rows.samples(), rows.rows(), device)
}

/// The mean loss over the samples.
fn loss(outputs: &Tensor, targets: &Targets) -> Result<Tensor, TchError> {
    let (device, (samples, width)) = (outputs.device(), outputs.size2()?);
    let like_outputs = |values| matrix(values, samples as usize, width as usize, device);
    match targets {
        Targets::Values(values) => {
            let squares = outputs.f_mse_loss(&like_outputs(values)?, Reduction::Sum)?;
            squares.f_div_scalar(samples)
        }
        Targets::Classes { classes, own } => {
            let classes: Vec<i64> = classes.iter().map(|&class| class.into()).collect();
            let classes = Tensor::f_from_slice(&classes)?.f_to_device(device)?;
            let logits = outputs.f_add(&like_outputs(own)?)?;
            let (weight, ignore, smoothing) = (None::<&Tensor>, -100, 0.0);
            logits.f_cross_entropy_loss(&classes, weight, Reduction::Mean, ignore, smoothing)
        }
    }
}
