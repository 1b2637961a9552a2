//! The bundle's tensors under their canonical names, checked against the network's shapes.

use mobillm_bundle::network::{self, Network, Positions};
use mobillm_core::backbone::{BackboneError, BackboneInfo};
use mobillm_weights::{Matrix, WeightsError, WeightsFile};

use crate::linear::{Linear, LinearMap};
use crate::norm::Norm;

/// The weights of a network, where the mapped file has them.
#[derive(Clone, Copy)]
pub(crate) struct Tensors<'a> {
    pub(crate) file: &'a WeightsFile,
    pub(crate) network: &'a Network,
    pub(crate) info: &'a BackboneInfo,
}

impl<'a> Tensors<'a> {
    /// The matrix `name`, `[rows, columns]`.
    pub(crate) fn matrix(
        &self,
        name: &str,
        [rows, columns]: [usize; 2],
    ) -> Result<Matrix<'a>, BackboneError> {
        let matrix = self.file.matrix(name).map_err(|error| self.unreadable(error))?;
        match (matrix.rows(), matrix.columns()) {
            shape if shape == (rows, columns) => Ok(matrix),
            shape => Err(self.wrong(format!(
                "tensor {name} is a matrix of {shape:?}, but the manifest's network makes it {:?}; \
                 import the model again",
                (rows, columns)
            ))),
        }
    }

    /// The linear maps `names` (with their outputs) of the same inputs, side by side.
    pub(crate) fn linear(
        &self,
        prefix: &str,
        names: &[(&str, usize)],
        inputs: usize,
    ) -> Result<Linear<'a>, BackboneError> {
        let map = |&(name, outputs): &(&str, usize)| {
            let name = format!("{prefix}.{name}");
            let weight = self.matrix(&format!("{name}.weight"), [outputs, inputs])?;
            let bias = self.bias(&name, outputs)?;
            Ok(LinearMap { weight, bias })
        };
        names.iter().map(map).collect::<Result<_, _>>().map(Linear)
    }

    /// The norm `name` of hidden states.
    pub(crate) fn norm(&self, name: &str) -> Result<Norm<'a>, BackboneError> {
        let network::Norm { kind, epsilon } = self.network.norm;
        let weight = self.vector(&format!("{name}.weight"), self.info.hidden)?;
        let bias = self.bias(name, self.info.hidden)?;
        Ok(Norm { kind, epsilon, weight, bias })
    }

    /// The f32 tensor `name`, which has `length` values.
    pub(crate) fn vector(&self, name: &str, length: usize) -> Result<&'a [f32], BackboneError> {
        let values = self.file.vector(name).map_err(|error| self.unreadable(error))?;
        if values.len() == length {
            return Ok(values);
        }
        Err(self.wrong(format!(
            "tensor {name} has {} values, but the manifest's network makes it {length}; import the \
             model again",
            values.len()
        )))
    }

    fn bias(&self, name: &str, length: usize) -> Result<Option<&'a [f32]>, BackboneError> {
        let name = format!("{name}.bias");
        self.file.contains(&name).then(|| self.vector(&name, length)).transpose()
    }

    /// Finds numbers of the network that contradict each other, on which a forward pass would fail.
    pub(crate) fn check(&self) -> Result<(), BackboneError> {
        let attention = &self.network.attention;
        let wrong = |problem: String| {
            Err(self.wrong(format!("the manifest's network has {problem}; import the model again")))
        };
        let sizes = [attention.heads, attention.key_heads, attention.head_width, self.info.hidden];
        if sizes.contains(&0) || !attention.heads.is_multiple_of(attention.key_heads) {
            return wrong(format!(
                "{} heads of {} over {} heads of keys",
                attention.heads, attention.head_width, attention.key_heads
            ));
        }
        if let Some(rotary) = &attention.rotary
            && rotary.frequencies.len() * 2 != attention.head_width
        {
            return wrong(format!(
                "{} frequencies for heads of {}, expected half as many",
                rotary.frequencies.len(),
                attention.head_width
            ));
        }
        match self.network.embedding.positions {
            Positions::Learned { rows, offset }
                if rows.checked_sub(offset).is_none_or(|rows| rows < self.info.max_tokens) =>
            {
                let most = self.info.max_tokens;
                wrong(format!("{rows} positions from {offset} on for {most} tokens"))
            }
            _ => Ok(()),
        }
    }

    fn unreadable(&self, error: WeightsError) -> BackboneError {
        self.wrong(error.to_string())
    }

    fn wrong(&self, problem: String) -> BackboneError {
        BackboneError::Bundle { path: self.file.path().to_owned(), problem }
    }
}
