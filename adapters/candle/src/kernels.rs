//! Element-wise work on rows, in plain loops that the compiler vectorizes.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use mobillm_adapter_portable::{Activation, LAYER_NORM_EPSILON, Targets};

/// Accumulators of a sum: enough to keep the vector units busy. Their number is part of the result.
const LANES: usize = 16;

/// A tensor `[rows, columns]` of `values`, without a copy.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

/// What `read` makes of the numbers of a contiguous f32 tensor, lent without a copy.
pub(crate) fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            Ok(read(&values[start..end]))
        }
        _ => candle_core::bail!("expected contiguous f32 on the CPU, got {tensor:?}"),
    }
}

/// The numbers of a contiguous f32 tensor.
pub(crate) fn into_values(tensor: Tensor) -> Result<Vec<f32>> {
    with_values(&tensor, <[f32]>::to_vec)
}

/// `left + right`.
pub(crate) fn add(left: &[f32], right: &Tensor) -> Result<Vec<f32>> {
    with_values(right, |right| left.iter().zip(right).map(|(left, right)| left + right).collect())
}

/// Rows of mean 0 and variance 1: a LayerNorm before its gain and bias.
pub(crate) fn standardize(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut standard = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(columns) {
        let mean = sum(row, |value| value) / columns as f32;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / columns as f32;
        let scale = 1.0 / (variance + LAYER_NORM_EPSILON).sqrt();
        standard.extend(row.iter().map(|value| (value - mean) * scale));
    }
    standard
}

fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += term(value));
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&value| term(value)).sum::<f32>()
}

/// `left * right`, summed over the rows.
pub(crate) fn column_sums_of_product(left: &[f32], right: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for (left, right) in left.chunks_exact(columns).zip(right.chunks_exact(columns)) {
        let products = left.iter().zip(right).map(|(left, right)| left * right);
        sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }
    sums
}

/// The sum over the rows.
pub(crate) fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in rows.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The activation at each of `values`, and its derivative there.
pub(crate) fn activate(activation: Activation, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let at = match activation {
        Activation::Gelu => gelu,
        Activation::Relu => relu,
    };
    let mut slope = values.to_vec();
    let active = slope.iter_mut().map(|value| {
        let (active, slope) = at(*value);
        *value = slope;
        active
    });
    (active.collect(), slope)
}

fn relu(x: f32) -> (f32, f32) {
    if x > 0.0 { (x, 1.0) } else { (0.0, 0.0) }
}

/// `x/2 (1 + tanh(u)) = x sigmoid(2u)`, of which the right side is the faster.
fn gelu(x: f32) -> (f32, f32) {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
    const CUBE: f32 = 0.044_715;
    let sigmoid = 1.0 / (1.0 + (-TWICE_SQRT_2_OVER_PI * (x + CUBE * x * x * x)).exp());
    let inner = TWICE_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBE * x * x);
    (x * sigmoid, sigmoid + x * sigmoid * (1.0 - sigmoid) * inner)
}

/// The mean loss over the samples and its gradient by `outputs`, `[samples, outputs]`.
pub(crate) fn loss_and_gradient(outputs: &[f32], targets: &Targets) -> (f32, Vec<f32>) {
    match targets {
        Targets::Values(values) => {
            let samples = values.len() as f32;
            let off: Vec<f32> = outputs.iter().zip(values).map(|(got, want)| got - want).collect();
            let loss = off.iter().map(|off| off * off).sum::<f32>() / samples;
            (loss, off.iter().map(|off| 2.0 * off / samples).collect())
        }
        Targets::Classes(classes) => {
            let samples = classes.len() as f32;
            let mut loss = 0.0;
            let mut gradient = Vec::with_capacity(outputs.len());
            for (logits, &class) in outputs.chunks(outputs.len() / classes.len()).zip(classes) {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let total: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                loss += total.ln() + largest - logits[class as usize];
                gradient.extend(logits.iter().enumerate().map(|(index, logit)| {
                    let truth = f32::from(u8::from(index == class as usize));
                    ((logit - largest).exp() / total - truth) / samples
                }));
            }
            (loss / samples, gradient)
        }
    }
}
