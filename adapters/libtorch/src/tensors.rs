//! Between plain numbers and tensors.

use mobillm_adapter_portable::{Blueprint, PooledRows, Weights};
use tch::{Device, TchError, Tensor};

/// `values` as a tensor `[rows, columns]` on `device`.
pub(crate) fn matrix(
    values: &[f32],
    rows: usize,
    columns: usize,
    device: Device,
) -> Result<Tensor, TchError> {
    shaped(values, &[rows, columns], device)
}

/// The matrix `[samples, rows]` that takes the mean of those of each sample's rows that the backbone
/// pools.
pub(crate) fn pooled_shares(
    blueprint: &Blueprint,
    rows: &PooledRows,
    device: Device,
) -> Result<Tensor, TchError> {
    let mut shares = vec![0.0; rows.samples() * rows.rows()];
    for (range, sample) in rows.ranges().zip(shares.chunks_exact_mut(rows.rows())) {
        let pooled = blueprint.pooled(range);
        let share = 1.0 / pooled.len() as f32;
        sample[pooled].fill(share);
    }
    matrix(&shares, rows.samples(), rows.rows(), device)
}

fn shaped(values: &[f32], shape: &[usize], device: Device) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
    Tensor::f_from_slice(values)?.f_view(shape.as_slice())?.f_to_device(device)
}

/// The numbers of an f32 tensor, row-major.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

/// One tensor per parameter of `blueprint`.
pub(crate) fn upload(
    blueprint: &Blueprint,
    weights: &Weights,
    device: Device,
) -> Result<Vec<Tensor>, TchError> {
    let parameters = blueprint.parameters();
    parameters.iter().zip(weights).map(|(to, from)| shaped(from, &to.shape, device)).collect()
}

/// The numbers of each tensor.
pub(crate) fn download(tensors: &[Tensor]) -> Result<Weights, TchError> {
    tensors.iter().map(values).collect()
}
