//! One layer of the network.

use candle_core::Tensor;
use mobillm_bundle::network::{Attention, FeedForward, NormKind, Placement};
use mobillm_core::backbone::BackboneError;
use rayon::ThreadPool;

use crate::attention::{Heads, Turns};
use crate::linear::Linear;
use crate::norm::Norm;
use crate::numbers::activate;
use crate::rows::{map_rows, on_rows};
use crate::tensors::Tensors;

/// A layer whose weights are where the mapped file has them.
pub(crate) struct Layer<'a> {
    placement: Placement,
    attention_norm: Norm<'a>,
    query_key_value: Linear<'a>,
    heads: Heads<'a>,
    output: Linear<'a>,
    feed_forward: FeedForward,
    feed_forward_norm: Norm<'a>,
    /// The gate before it, if there is one.
    up: Linear<'a>,
    down: Linear<'a>,
}

impl<'a> Layer<'a> {
    /// Layer `index`, from 0.
    pub(crate) fn read(tensors: &Tensors<'a>, index: usize) -> Result<Self, BackboneError> {
        let (network, hidden) = (tensors.network, tensors.info.hidden);
        let Attention { heads, key_heads, head_width, .. } = network.attention;
        let (queries, keys) = (heads * head_width, key_heads * head_width);
        let FeedForward { inner, gated, .. } = network.feed_forward;
        let attention = format!("layers.{index}.attention");
        let projections = [("query", queries), ("key", keys), ("value", keys)];
        let feed_forward = format!("layers.{index}.feed_forward");
        let ups = [("gate", inner), ("up", inner)];
        Ok(Self {
            placement: network.placement,
            attention_norm: tensors.norm(&format!("{attention}.norm"))?,
            query_key_value: tensors.linear(&attention, &projections, hidden)?,
            heads: Heads { attention: &network.attention, norms: head_norms(tensors, &attention)? },
            output: tensors.linear(&attention, &[("output", hidden)], queries)?,
            feed_forward: network.feed_forward,
            feed_forward_norm: tensors.norm(&format!("{feed_forward}.norm"))?,
            up: tensors.linear(&feed_forward, &ups[usize::from(!gated)..], hidden)?,
            down: tensors.linear(&feed_forward, &[("down", hidden)], inner)?,
        })
    }

    /// The hidden state behind this layer of `hidden` `[tokens, hidden]`, the tokens of samples of
    /// `lengths`, one behind the other.
    pub(crate) fn forward(
        &self,
        pool: &ThreadPool,
        hidden: Tensor,
        lengths: &[usize],
        turns: Option<&Turns>,
    ) -> candle_core::Result<Tensor> {
        let attended = |hidden: &Tensor, residual: &Tensor| {
            let projected = self.query_key_value.apply(pool, hidden)?;
            let mixed = self.heads.attend(pool, projected, lengths, turns)?;
            self.output.add_to(residual, pool, &mixed)
        };
        let fed = |hidden: &Tensor, residual: &Tensor| {
            let up = self.up.apply(pool, hidden)?;
            let active = activated(pool, up, self.feed_forward)?;
            self.down.add_to(residual, pool, &active)
        };
        match self.placement {
            Placement::Before => {
                let hidden = attended(&self.attention_norm.apply(pool, &hidden)?, &hidden)?;
                fed(&self.feed_forward_norm.apply(pool, &hidden)?, &hidden)
            }
            Placement::After => {
                let hidden = self.attention_norm.apply(pool, &attended(&hidden, &hidden)?)?;
                self.feed_forward_norm.apply(pool, &fed(&hidden, &hidden)?)
            }
        }
    }
}

/// The norms of queries and keys, if they are normed.
fn head_norms<'a>(
    tensors: &Tensors<'a>,
    attention: &str,
) -> Result<Option<[Norm<'a>; 2]>, BackboneError> {
    let Attention { normed, head_width, .. } = tensors.network.attention;
    let norm = |name: &str| {
        let weight = tensors.vector(&format!("{attention}.{name}.weight"), head_width)?;
        let epsilon = tensors.network.norm.epsilon;
        Ok(Norm { kind: NormKind::Rms, epsilon, weight, bias: None })
    };
    normed.then(|| Ok([norm("query_norm")?, norm("key_norm")?])).transpose()
}

/// The activation of `up`, or that of its first half times the other one.
fn activated(
    pool: &ThreadPool,
    up: Tensor,
    feed_forward: FeedForward,
) -> candle_core::Result<Tensor> {
    let FeedForward { inner, activation, gated } = feed_forward;
    on_rows("activation", &up, |up| {
        map_rows(pool, up, inner, |_, up, out| {
            out.copy_from_slice(&up[..inner]);
            activate(activation, out);
            if gated {
                out.iter_mut().zip(&up[inner..]).for_each(|(out, factor)| *out *= factor);
            }
        })
    })
}
