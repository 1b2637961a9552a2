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

use candle_core::{Context, Result, Tensor};
use mobillm_adapter_portable::{Activation, Blueprint, Bottleneck, PooledRows, Targets, Weights};
use mobillm_core::activations::ActivationBatch;

use crate::head::Head;
use crate::kernels::{
    activate, add, add_by_mean, column_sums, column_sums_of_product, into_values, matrix, mean_row,
    product, standardize, with_values,
};
use crate::loss::loss_and_gradient;

/// The loss on `batch` and its gradient by each weight, in the order of the parameters.
pub(crate) fn loss_and_gradients(
    blueprint: &Blueprint,
    options: Bottleneck,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
    targets: &Targets,
) -> Result<(f32, Weights)> {
    let network = Network::new(blueprint, options, weights)?;
    let mut traces = Vec::new();
    let last = network.forward(batch, rows, |trace| traces.push(trace))?;
    let pooled = network.pool(&last, rows)?;
    let outputs = network.head.outputs(&pooled)?;
    let (loss, by_output) = loss_and_gradient(&outputs, rows.samples(), targets);
    Ok((loss, network.backward(traces, rows, &pooled, by_output)?))
}

/// Raw outputs, `[samples, outputs]`.
pub(crate) fn predict(
    blueprint: &Blueprint,
    options: Bottleneck,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> Result<Vec<f32>> {
    let network = Network::new(blueprint, options, weights)?;
    let last = network.forward(batch, rows, drop)?;
    network.head.outputs(&network.pool(&last, rows)?)
}

/// All weights by place.
struct Network<'a> {
    adapters: Vec<Adapter<'a>>,
    head: Head<'a>,
    hidden: usize,
}

impl<'a> Network<'a> {
    fn new(blueprint: &Blueprint, options: Bottleneck, weights: &'a Weights) -> Result<Self> {
        let Bottleneck { rank, activation } = options;
        let hidden = blueprint.hidden;
        let (adapters, [gates, head, head_bias]) = blueprint.chain_places(weights);
        let mu = gates.iter().map(|gate| Some(1.0 / (1.0 + (-gate).exp())));
        let adapter = |([gain, bias, down, up], mu): (&'a [Vec<f32>; 4], _)| {
            let down = matrix(down.clone(), hidden, rank)?;
            let up = matrix(up.clone(), rank, hidden)?;
            Ok(Adapter { gain, bias, down, up, mu, activation })
        };
        let adapters = adapters.iter().zip(std::iter::once(None).chain(mu)).map(adapter);
        let adapters = adapters.collect::<Result<_>>()?;
        Ok(Self { adapters, head: Head::new(head, head_bias)?, hidden })
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
            let (standard, _) = standardize(&rows.gather(batch.tap(tap), self.hidden), self.hidden);
            let trace = adapter.forward(standard, carried.as_ref())?;
            carried = Some(trace.output.clone());
            keep(trace);
        }
        carried.context("a network without taps")
    }

    /// The mean of each sample's rows, `[samples, hidden]`.
    fn pool(&self, last: &Tensor, rows: &PooledRows) -> Result<Tensor> {
        let pooled = with_values(last, |last| {
            rows.ranges().flat_map(|range| mean_row(last, range, self.hidden)).collect()
        })?;
        matrix(pooled, rows.samples(), self.hidden)
    }

    /// The gradient by the rows, `[rows, hidden]`, from that by their means.
    fn unpool(&self, by_pooled: &[f32], rows: &PooledRows) -> Vec<f32> {
        let mut by_rows = vec![0.0; rows.rows() * self.hidden];
        for (range, by_mean) in rows.ranges().zip(by_pooled.chunks_exact(self.hidden)) {
            add_by_mean(&mut by_rows, range, by_mean);
        }
        by_rows
    }

    fn backward(
        &self,
        mut traces: Vec<Trace>,
        rows: &PooledRows,
        pooled: &Tensor,
        by_output: Vec<f32>,
    ) -> Result<Weights> {
        let (by_pooled, head) = self.head.backward(pooled, by_output)?;
        let mut gradient = with_values(&by_pooled, |by_pooled| self.unpool(by_pooled, rows))?;
        let (mut adapters, mut gates) = (Vec::new(), Vec::new());
        for adapter in self.adapters.iter().rev() {
            let trace = traces.pop().context("a trace for each adapter")?;
            let carried = traces.last().map(|before| &before.output);
            let (weights, gate) = adapter.backward(&trace, carried, &mut gradient)?;
            adapters.push(weights);
            gates.extend(gate);
        }
        gates.reverse();
        Ok(adapters.into_iter().rev().flatten().chain([gates]).chain(head).collect())
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
