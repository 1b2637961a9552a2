//! The last, linear layer of every network.

use candle_core::{Result, Tensor};

use crate::kernels::{column_sums, into_values, matrix, product};

/// `features weight + bias`.
pub(crate) struct Head<'a> {
    /// `[features, outputs]`.
    weight: Tensor,
    bias: &'a [f32],
}

impl<'a> Head<'a> {
    pub(crate) fn new(weight: &[f32], bias: &'a [f32]) -> Result<Self> {
        let outputs = bias.len();
        Ok(Self { weight: matrix(weight.to_vec(), weight.len() / outputs, outputs)?, bias })
    }

    /// The outputs, `[samples, outputs]`, of `[samples, features]`.
    pub(crate) fn outputs(&self, features: &Tensor) -> Result<Vec<f32>> {
        let mut outputs = into_values(product(features, &self.weight)?)?;
        for row in outputs.chunks_exact_mut(self.bias.len()) {
            row.iter_mut().zip(self.bias).for_each(|(value, bias)| *value += bias);
        }
        Ok(outputs)
    }

    /// The gradient by the features, and those by weight and bias.
    pub(crate) fn backward(
        &self,
        features: &Tensor,
        by_output: Vec<f32>,
    ) -> Result<(Tensor, [Vec<f32>; 2])> {
        let outputs = self.bias.len();
        let bias = column_sums(&by_output, outputs);
        let by_output = matrix(by_output, features.dim(0)?, outputs)?;
        let weight = into_values(product(&features.t()?, &by_output)?)?;
        Ok((product(&by_output, &self.weight.t()?)?, [weight, bias]))
    }
}
