//! The model's own prediction.

use candle_core::{Device, Tensor};
use mobillm_bundle::network::{Activation, Head};
use mobillm_core::backbone::BackboneError;
use ndarray::Array2;
use rayon::ThreadPool;

use crate::linear::Linear;
use crate::norm::Norm;
use crate::numbers::activate;
use crate::rows::{map_rows, on_rows, with_rows};
use crate::tensors::Tensors;

/// What stands above the last layer.
pub(crate) struct Predictor<'a> {
    norm: Option<Norm<'a>>,
    answer: Answer<'a>,
}

enum Answer<'a> {
    /// Of the first token.
    Classifier { dense: Linear<'a>, activation: Activation, output: Linear<'a> },
    /// Of the last token: its scores for `labels` `[labels, width]` as the next one.
    Labels { projection: Option<Linear<'a>>, labels: &'a Tensor },
}

impl<'a> Predictor<'a> {
    /// The predictor of `tensors`' network, if it has one; one with a language head predicts `labels`
    /// `[labels, width]`, and nothing without them.
    pub(crate) fn read(
        tensors: &Tensors<'a>,
        labels: Option<&'a Tensor>,
    ) -> Result<Option<Self>, BackboneError> {
        let (network, hidden) = (tensors.network, tensors.info.hidden);
        let answer = match (network.head, labels) {
            (Some(Head::Classifier { activation, outputs }), _) => Answer::Classifier {
                dense: tensors.linear("classifier", &[("dense", hidden)], hidden)?,
                activation,
                output: tensors.linear("classifier", &[("output", outputs)], hidden)?,
            },
            (Some(Head::Vocabulary { .. }), Some(labels)) => {
                let width = network.embedding.width;
                let projection = || tensors.linear("head", &[("projection", width)], hidden);
                let projection = (width != hidden).then(projection).transpose()?;
                Answer::Labels { projection, labels }
            }
            (Some(Head::Vocabulary { .. }) | None, _) => return Ok(None),
        };
        let norm = network.final_norm.then(|| tensors.norm("norm")).transpose()?;
        Ok(Some(Self { norm, answer }))
    }

    /// The logits `[samples, outputs]` of the last layer's `hidden` `[tokens, hidden]`, the tokens of
    /// samples of `lengths`, one behind the other.
    pub(crate) fn forward(
        &self,
        pool: &ThreadPool,
        hidden: &Tensor,
        lengths: &[usize],
    ) -> candle_core::Result<Array2<f32>> {
        let ends = lengths.iter().scan(0, |end, &length| {
            *end += length;
            Some(*end)
        });
        let tokens: Vec<u32> = match self.answer {
            Answer::Classifier { .. } => {
                ends.zip(lengths).map(|(end, length)| (end - length) as u32).collect()
            }
            Answer::Labels { .. } => ends.map(|end| end as u32 - 1).collect(),
        };
        let mut state = hidden.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        if let Some(norm) = &self.norm {
            state = norm.apply(pool, &state)?;
        }
        let logits = match &self.answer {
            Answer::Classifier { dense, activation, output } => {
                let active = on_rows("activation", &dense.apply(pool, &state)?, |dense| {
                    map_rows(pool, dense, dense.ncols(), |_, dense, out| {
                        out.copy_from_slice(dense);
                        activate(*activation, out);
                    })
                })?;
                output.apply(pool, &active)?
            }
            Answer::Labels { projection, labels } => {
                if let Some(projection) = projection {
                    state = projection.apply(pool, &state)?;
                }
                state.matmul(&labels.t()?)?
            }
        };
        with_rows(&logits, |logits| logits.to_owned())
    }
}
