//! The losses of [`Architecture`](mobillm_adapter_portable::Architecture), with their gradients.

use mobillm_adapter_portable::{Blueprint, Network, PooledRows, Targets};
use mobillm_core::activations::ActivationBatch;
use tch::{Reduction, TchError, Tensor};

use crate::tensors::matrix;
use crate::{adapters, pooling};

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
    match blueprint.architecture.network() {
        Network::AdapterChain(options) => {
            adapters::forward(blueprint, options, weights, batch, rows)
        }
        Network::TokenPooling(_) => pooling::forward(blueprint, weights, batch, rows),
    }
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
