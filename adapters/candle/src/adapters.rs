//! The chain of adapters, forward and backward.
//!
//! The formulas are at [`Architecture`](mobillm_adapter_portable::Architecture).
//! Backward, with `g` for the gradient by `h_t`, `N` for the rows before gain and bias, and `*` for
//! products of elements:
//!
//! ```text
//! up'   = act(S down)^T g          z'   = (g up^T) * act'(S down)
//! down' = S^T z'                   s    = g + z' down^T                the gradient by S_t
//! gain' = (1 - mu) sum(s * N)      bias' = (1 - mu) sum(s)             over the rows
//! gate' = mu (1 - mu) sum(s * (h_(t-1) - norm(A_t)))                   over all elements
//! g of the tap before = mu s
//! ```
//!
//! The taps themselves need no gradient, which is why the normalisation has no backward pass.

use std::ops::Range;

use candle_core::{Context, Result, Tensor};
use mobillm_adapter_portable::{Activation, Blueprint, Bottleneck, PooledRows, Targets, Weights};
use mobillm_core::activations::ActivationBatch;

use crate::kernels::{
    activate, add, column_sums, column_sums_of_product, into_values, matrix, product, standardize,
    with_values,
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
    let mut traces = Vec::new();
    let last = network.forward(batch, rows, |trace| traces.push(trace))?;
    let pooled = pool(&last, rows, network.hidden)?;
    let (loss, by_output) = loss_and_gradient(&network.outputs(&pooled)?, rows.samples(), targets);
    let gradients = network.backward(traces, rows, &pooled, by_output)?;
    Ok((loss, gradients))
}

/// Raw outputs, `[samples, outputs]`.
pub(crate) fn predict(
    blueprint: &Blueprint,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Vec<f32>> {
    let network = Network::new(blueprint, weights)?;
    let last = network.forward(batch, rows, drop)?;
    network.outputs(&pool(&last, rows, network.hidden)?)
}

/// All weights by place.
struct Network<'a> {
    adapters: Vec<Adapter<'a>>,
    head: Tensor,
    bias: &'a [f32],
    hidden: usize,
}

impl<'a> Network<'a> {
    fn new(blueprint: &Blueprint, weights: &'a Weights) -> Result<Self> {
        let Bottleneck { rank, activation } = blueprint.architecture.bottleneck();
        let hidden = blueprint.hidden;
        let (adapters, [gates, head, bias]) = blueprint.by_place(weights);
        let mu = gates.iter().map(|gate| Some(1.0 / (1.0 + (-gate).exp())));
        let adapter = |([gain, bias, down, up], mu): (&'a [Vec<f32>; 4], _)| {
            let down = matrix(down.clone(), hidden, rank)?;
            let up = matrix(up.clone(), rank, hidden)?;
            Ok(Adapter { gain, bias, down, up, mu, activation })
        };
        let adapters = adapters.iter().zip(std::iter::once(None).chain(mu)).map(adapter);
        let head = matrix(head.clone(), hidden, blueprint.objective.outputs())?;
        Ok(Self { adapters: adapters.collect::<Result<_>>()?, head, bias, hidden })
    }

    /// `h_T` of `rows`, `[rows, hidden]`; each adapter's trace goes to `keep`.
    fn forward(
        &self,
        batch: &ActivationBatch,
        rows: &PooledRows,
        mut keep: impl FnMut(Trace),
    ) -> Result<Tensor> {
        let mut carried = None;
        for (tap, adapter) in self.adapters.iter().enumerate() {
            let standard = standardize(&rows.gather(batch.tap(tap), self.hidden), self.hidden);
            let trace = adapter.forward(standard, carried.as_ref())?;
            carried = Some(trace.output.clone());
            keep(trace);
        }
        carried.context("a network without taps")
    }

    fn outputs(&self, pooled: &Tensor) -> Result<Vec<f32>> {
        let mut outputs = product(pooled, &self.head)?.flatten_all()?.to_vec1::<f32>()?;
        for row in outputs.chunks_exact_mut(self.bias.len()) {
            row.iter_mut().zip(self.bias).for_each(|(value, bias)| *value += bias);
        }
        Ok(outputs)
    }

    fn backward(
        &self,
        mut traces: Vec<Trace>,
        rows: &PooledRows,
        pooled: &Tensor,
        by_output: Vec<f32>,
    ) -> Result<Weights> {
        let (samples, outputs) = (rows.samples(), self.bias.len());
        let bias = column_sums(&by_output, outputs);
        let by_output = matrix(by_output, samples, outputs)?;
        let head = into_values(product(&pooled.t()?, &by_output)?)?;
        let by_pooled = product(&by_output, &self.head.t()?)?;
        let mut gradient =
            with_values(&by_pooled, |by_pooled| unpool(by_pooled, rows, self.hidden))?;
        let (mut adapters, mut gates) = (Vec::new(), Vec::new());
        for adapter in self.adapters.iter().rev() {
            let trace = traces.pop().context("a trace for each adapter")?;
            let carried = traces.last().map(|before| &before.output);
            let (weights, gate) = adapter.backward(&trace, carried, &mut gradient)?;
            adapters.push(weights);
            gates.extend(gate);
        }
        gates.reverse();
        Ok(adapters.into_iter().rev().flatten().chain([gates, head, bias]).collect())
    }
}

/// What one adapter keeps of its forward pass for the backward pass.
struct Trace {
    /// The rows of mean 0 and variance 1, `[rows, hidden]`.
    standard: Vec<f32>,
    /// `S_t`, `[rows, hidden]`.
    input: Tensor,
    /// `act(S_t down)`, `[rows, rank]`.
    active: Tensor,
    /// `act'(S_t down)`, `[rows, rank]`.
    slope: Vec<f32>,
    /// `h_t`, `[rows, hidden]`.
    output: Tensor,
}

/// One adapter's weights; `mu` is `None` in the first, which has no predecessor.
struct Adapter<'a> {
    gain: &'a [f32],
    bias: &'a [f32],
    down: Tensor,
    up: Tensor,
    mu: Option<f32>,
    activation: Activation,
}

impl Adapter<'_> {
    fn forward(&self, standard: Vec<f32>, carried: Option<&Tensor>) -> Result<Trace> {
        let (hidden, rank) = self.down.dims2()?;
        let rows = standard.len() / hidden;
        let input = matrix(self.input(&standard, carried)?, rows, hidden)?;
        let narrow = product(&input, &self.down)?;
        let (active, slope) = with_values(&narrow, |narrow| activate(self.activation, narrow))?;
        let active = matrix(active, rows, rank)?;
        let wide = product(&active, &self.up)?;
        let output = matrix(with_values(&input, |input| add(input, &wide))??, rows, hidden)?;
        Ok(Trace { standard, input, active, slope, output })
    }

    /// `S_t` from the standard rows and `h_(t-1)`.
    fn input(&self, standard: &[f32], carried: Option<&Tensor>) -> Result<Vec<f32>> {
        let keep = 1.0 - self.mu.unwrap_or(0.0);
        let affine: Vec<(f32, f32)> = self
            .gain
            .iter()
            .zip(self.bias)
            .map(|(gain, bias)| (keep * gain, keep * bias))
            .collect();
        let mut input = Vec::with_capacity(standard.len());
        for row in standard.chunks_exact(affine.len()) {
            input.extend(row.iter().zip(&affine).map(|(value, (gain, bias))| value * gain + bias));
        }
        if let (Some(mu), Some(carried)) = (self.mu, carried) {
            with_values(carried, |carried| {
                input.iter_mut().zip(carried).for_each(|(value, carried)| *value += mu * carried);
            })?;
        }
        Ok(input)
    }

    /// The gradients by `[gain, bias, down, up]` and by the gate, from the `gradient` by `h_t`, which
    /// becomes the one by `h_(t-1)`.
    fn backward(
        &self,
        trace: &Trace,
        carried: Option<&Tensor>,
        gradient: &mut Vec<f32>,
    ) -> Result<([Vec<f32>; 4], Option<f32>)> {
        let (hidden, rank) = self.down.dims2()?;
        let rows = trace.standard.len() / hidden;
        let by_output = matrix(std::mem::take(gradient), rows, hidden)?;
        let up = into_values(product(&trace.active.t()?, &by_output)?)?;
        let by_active = product(&by_output, &self.up.t()?)?;
        let by_narrow = with_values(&by_active, |by_active| {
            by_active.iter().zip(&trace.slope).map(|(by, slope)| by * slope).collect()
        })?;
        let by_narrow = matrix(by_narrow, rows, rank)?;
        let down = into_values(product(&trace.input.t()?, &by_narrow)?)?;
        let through = product(&by_narrow, &self.down.t()?)?;
        let mut by_input = with_values(&by_output, |by_output| add(by_output, &through))??;

        let mut gain = column_sums_of_product(&by_input, &trace.standard, hidden);
        let mut bias = column_sums(&by_input, hidden);
        let gate = match (self.mu, carried) {
            (Some(mu), Some(carried)) => {
                let carried = with_values(carried, |carried| {
                    column_sums_of_product(&by_input, carried, hidden)
                })?;
                let own = gain.iter().zip(self.gain).chain(bias.iter().zip(self.bias));
                let own: f32 = own.map(|(sum, weight)| sum * weight).sum();
                let gate = mu * (1.0 - mu) * (carried.iter().sum::<f32>() - own);
                gain.iter_mut().chain(&mut bias).for_each(|value| *value *= 1.0 - mu);
                by_input.iter_mut().for_each(|value| *value *= mu);
                Some(gate)
            }
            _ => None,
        };
        *gradient = by_input;
        Ok(([gain, bias, down, up], gate))
    }
}

/// The mean of each sample's rows, `[samples, hidden]`.
fn pool(last: &Tensor, rows: &PooledRows, hidden: usize) -> Result<Tensor> {
    let pooled = with_values(last, |last| {
        let mean = |range: Range<usize>| {
            let count = range.len() as f32;
            let sums = column_sums(&last[range.start * hidden..range.end * hidden], hidden);
            sums.into_iter().map(move |sum| sum / count)
        };
        rows.ranges().flat_map(mean).collect()
    })?;
    matrix(pooled, rows.samples(), hidden)
}

/// The gradient by the rows, `[rows, hidden]`, from that by their means.
fn unpool(by_pooled: &[f32], rows: &PooledRows, hidden: usize) -> Vec<f32> {
    let mut by_rows = Vec::with_capacity(rows.rows() * hidden);
    for (range, sample) in rows.ranges().zip(by_pooled.chunks_exact(hidden)) {
        let share: Vec<f32> = sample.iter().map(|value| value / range.len() as f32).collect();
        range.for_each(|_| by_rows.extend_from_slice(&share));
    }
    by_rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobillm_adapter_portable::Architecture;
    use mobillm_core::activations::Layout;
    use mobillm_core::backbone::Pooling;
    use mobillm_core::fingerprint::Fingerprint;
    use mobillm_core::sample::Objective;

    /// Numbers without a pattern that a mistake could hide in.
    fn noise(count: usize, salt: f32) -> Vec<f32> {
        (0..count).map(|index| (index as f32 * 1.7 + salt).sin()).collect()
    }

    fn blueprint(objective: Objective, activation: Activation) -> Blueprint {
        Blueprint {
            architecture: Architecture::AdditiveAdapter(Bottleneck { rank: 3, activation }),
            taps: vec![1, 2, 4],
            hidden: 5,
            pooling: Pooling::Mean,
            objective,
            bundle: Fingerprint::of(b"bundle"),
        }
    }

    /// Every gradient against central differences, at weights where nothing is zero.
    fn check_gradients(blueprint: &Blueprint, targets: &Targets) {
        let layout = Layout::from_counts([2, 1, 3]);
        let taps = (0..3).map(|tap| noise(layout.rows() * 5, tap as f32 * 0.9)).collect();
        let batch = ActivationBatch::new(layout, 5, taps).unwrap();
        let rows = blueprint.rows(&batch).unwrap();
        let mut weights = blueprint.initial(5);
        for (salt, values) in weights.iter_mut().enumerate() {
            let noise = noise(values.len(), 0.3 * salt as f32);
            values.iter_mut().zip(noise).for_each(|(value, noise)| *value += 0.4 * noise);
        }
        let run = |weights: &Weights| {
            loss_and_gradients(blueprint, weights, &batch, &rows, targets).unwrap()
        };
        let (_, gradients) = run(&weights);
        const STEP: f32 = 1e-2;
        for (tensor, parameter) in blueprint.parameters().iter().enumerate() {
            assert_eq!(gradients[tensor].len(), weights[tensor].len());
            for index in 0..weights[tensor].len() {
                let mut loss_at = |offset: f32| {
                    let kept = weights[tensor][index];
                    weights[tensor][index] = kept + offset;
                    let (loss, _) = run(&weights);
                    weights[tensor][index] = kept;
                    f64::from(loss)
                };
                let numeric = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = f64::from(gradients[tensor][index]);
                let near = (numeric - exact).abs() < 1e-3 + 1e-2 * exact.abs();
                assert!(near, "{}[{index}]: {exact}, by differences {numeric}", parameter.name);
            }
        }
    }

    #[test]
    fn every_gradient_is_the_slope_of_the_loss() {
        let classes = vec![0, 2, 1];
        let alone = Targets::Classes { classes: classes.clone(), own: vec![0.0; 9] };
        let objective = Objective::Classification { classes: 3 };
        check_gradients(&blueprint(objective, Activation::Gelu), &alone);
        check_gradients(&blueprint(objective, Activation::Relu), &alone);
        let with_own = Targets::Classes { classes, own: noise(9, 0.2) };
        check_gradients(&blueprint(objective, Activation::Gelu), &with_own);
        let differences = Targets::Values(noise(9, 0.6));
        check_gradients(&blueprint(objective, Activation::Gelu), &differences);
        let values = Targets::Values(vec![0.5, -1.0, 2.0]);
        check_gradients(&blueprint(Objective::Regression, Activation::Gelu), &values);
    }
}
