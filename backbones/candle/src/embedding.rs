//! Tokens to the first hidden state.

use candle_core::Tensor;
use mobillm_bundle::network::{self, Positions};
use mobillm_core::backbone::{BackboneError, TokenBatch};
use mobillm_weights::Matrix;
use ndarray::{Array2, ArrayView2};
use rayon::ThreadPool;

use crate::linear::Linear;
use crate::norm::Norm;
use crate::rows::tensor;
use crate::tensors::Tensors;

/// The tables that a token's parts are looked up in, and what is made of them.
pub(crate) struct Embedding<'a> {
    /// `[vocabulary, width]`.
    tokens: Matrix<'a>,
    projection: Option<Linear<'a>>,
    /// `[rows, hidden]`, and the row of a sample's first token.
    positions: Option<(Matrix<'a>, usize)>,
    /// `[segments, hidden]`.
    segments: Option<Matrix<'a>>,
    norm: Option<Norm<'a>>,
}

impl<'a> Embedding<'a> {
    pub(crate) fn read(tensors: &Tensors<'a>) -> Result<Self, BackboneError> {
        let network::Embedding { width, positions, segments, normed } = tensors.network.embedding;
        let (vocabulary, hidden) = (tensors.info.vocabulary, tensors.info.hidden);
        let projection = || tensors.linear("embedding", &[("projection", hidden)], width);
        let positions = match positions {
            Positions::None => None,
            Positions::Learned { rows, offset } => {
                Some((tensors.matrix("embedding.positions.weight", [rows, hidden])?, offset))
            }
        };
        let segment = || tensors.matrix("embedding.segments.weight", [segments, hidden]);
        Ok(Self {
            tokens: tensors.matrix("embedding.tokens.weight", [vocabulary, width])?,
            projection: (width != hidden).then(projection).transpose()?,
            positions,
            segments: (segments > 0).then(segment).transpose()?,
            norm: normed.then(|| tensors.norm("embedding.norm")).transpose()?,
        })
    }

    /// The first hidden state of every token of `batch` that is no padding, `[tokens, hidden]`.
    pub(crate) fn forward(
        &self,
        pool: &ThreadPool,
        batch: &TokenBatch,
    ) -> candle_core::Result<Tensor> {
        let mut hidden = look_up(&self.tokens, unpadded(batch, batch.ids()))?;
        if let Some(projection) = &self.projection {
            hidden = projection.compute(pool, hidden.view(), None)?;
        }
        if let Some((positions, first)) = &self.positions {
            let rows = batch.lengths().iter().flat_map(|&length| *first..first + length);
            hidden += &look_up(positions, rows)?;
        }
        if let Some(segments) = &self.segments {
            hidden += &look_up(segments, unpadded(batch, batch.segments()))?;
        }
        let hidden = tensor(hidden)?;
        match &self.norm {
            Some(norm) => norm.apply(pool, &hidden),
            None => Ok(hidden),
        }
    }
}

/// What stands in `values` `[batch, tokens]` where there is no padding.
fn unpadded<'a>(
    batch: &'a TokenBatch,
    values: ArrayView2<'a, i64>,
) -> impl Iterator<Item = usize> + 'a {
    let samples = values.into_outer_iter().zip(batch.lengths());
    samples
        .flat_map(|(values, &length)| values.into_iter().take(length).map(|&value| value as usize))
}

/// The rows `indexes` of `table`.
fn look_up(
    table: &Matrix<'_>,
    indexes: impl Iterator<Item = usize>,
) -> candle_core::Result<Array2<f32>> {
    let columns = table.columns();
    let mut values = Vec::new();
    for index in indexes {
        let end = values.len();
        values.resize(end + columns, 0.0);
        let row = table.dequantize_rows(index..index + 1, &mut values[end..]);
        row.map_err(candle_core::Error::wrap)?;
    }
    let shape = (values.len() / columns, columns);
    Array2::from_shape_vec(shape, values).map_err(candle_core::Error::wrap)
}
