//! Attention among the tokens of each sample.
//!
//! Samples stand one behind the other without padding, so a token meets none and needs no mask but
//! that of time. Scores are held for one block of queries at a time.

use std::ops::Range;

use candle_core::{Result, Tensor};
use mobillm_bundle::network::{Attention, Rotary};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::norm::Norm;
use crate::numbers::{softmax, vectorized};
use crate::product::multiply;
use crate::rows::{map_rows, on_rows};

/// Queries whose scores are held at a time.
const BLOCK: usize = 64;

/// How queries and keys are prepared, head by head.
pub(crate) struct Heads<'a> {
    pub(crate) attention: &'a Attention,
    /// Norms of a query's and of a key's head.
    pub(crate) norms: Option<[Norm<'a>; 2]>,
}

/// Cosine and sine of every angle that a pair turns by.
pub(crate) struct Turns(Vec<Vec<(f32, f32)>>);

impl Turns {
    /// Those of the positions below `positions`.
    pub(crate) fn new(rotary: &Rotary, positions: usize) -> Self {
        let angles = |position: usize| {
            let turn = |frequency: &f32| (position as f32 * frequency).sin_cos();
            rotary.frequencies.iter().map(turn).map(|(sine, cosine)| (cosine, sine)).collect()
        };
        Self((0..positions).map(angles).collect())
    }

    /// Turns a head at `position`: its first half against its second.
    #[inline(always)]
    fn turn(&self, position: usize, head: &mut [f32]) {
        let (left, right) = head.split_at_mut(head.len() / 2);
        for ((left, right), (cosine, sine)) in left.iter_mut().zip(right).zip(&self.0[position]) {
            (*left, *right) = (*left * cosine - *right * sine, *right * cosine + *left * sine);
        }
    }
}

impl Heads<'_> {
    /// Columns of queries, keys and values side by side.
    fn columns(&self) -> [Range<usize>; 3] {
        let Attention { heads, key_heads, head_width, .. } = *self.attention;
        let (queries, keys) = (heads * head_width, key_heads * head_width);
        [0..queries, queries..queries + keys, queries + keys..queries + 2 * keys]
    }

    /// Attention over `projected` (queries, keys and values side by side; the tokens of samples of
    /// `lengths`, one behind the other): `[tokens, heads * head_width]`.
    pub(crate) fn attend(
        &self,
        pool: &ThreadPool,
        mut projected: Tensor,
        lengths: &[usize],
        turns: Option<&Turns>,
    ) -> Result<Tensor> {
        if self.norms.is_some() || turns.is_some() {
            let positions: Vec<usize> = lengths.iter().flat_map(|&length| 0..length).collect();
            projected =
                on_rows("rotary", &projected, |rows| self.prepare(pool, rows, &positions, turns))?;
        }
        on_rows("attention", &projected, |rows| self.mix(pool, rows, lengths))
    }

    /// The same with queries and keys normed and turned; `positions` are the tokens' places in their
    /// samples.
    fn prepare(
        &self,
        pool: &ThreadPool,
        projected: ArrayView2<'_, f32>,
        positions: &[usize],
        turns: Option<&Turns>,
    ) -> Result<Array2<f32>> {
        let width = self.attention.head_width;
        let [queries, keys, _] = self.columns();
        map_rows(pool, projected, projected.ncols(), |row, token, out| {
            out.copy_from_slice(token);
            for (part, columns) in [queries.clone(), keys.clone()].into_iter().enumerate() {
                for head in out[columns].chunks_exact_mut(width) {
                    if let Some(norms) = &self.norms {
                        norms[part].of(head);
                    }
                    if let Some(turns) = turns {
                        turns.turn(positions[row], head);
                    }
                }
            }
        })
    }

    fn mix(
        &self,
        pool: &ThreadPool,
        prepared: ArrayView2<'_, f32>,
        lengths: &[usize],
    ) -> Result<Array2<f32>> {
        let [queries, keys, values] = self.columns();
        let mut out = Array2::zeros((prepared.nrows(), queries.len()));
        let mut rest = out.view_mut();
        let mut blocks = Vec::new();
        let mut first = 0;
        for &length in lengths {
            let sample = prepared.slice(s![first..first + length, ..]);
            first += length;
            for from in (0..length).step_by(BLOCK) {
                let tokens = from..length.min(from + BLOCK);
                let (mine, others) = rest.split_at(Axis(0), tokens.len());
                rest = others;
                let part = |columns: &Range<usize>, rows: Range<usize>| {
                    sample.slice_move(s![rows, columns.clone()])
                };
                let seen = 0..if self.attention.causal { tokens.end } else { length };
                blocks.push(Block {
                    first: from,
                    queries: part(&queries, tokens),
                    keys: part(&keys, seen.clone()),
                    values: part(&values, seen),
                    out: mine,
                });
            }
        }
        pool.install(|| {
            let run =
                |scores: &mut Vec<f32>, block: Block<'_, '_>| block.run(self.attention, scores);
            blocks.into_par_iter().try_for_each_init(Vec::new, run)
        })?;
        Ok(out)
    }
}

/// Some tokens of a sample, whose queries look at all keys that they may see.
struct Block<'a, 'out> {
    /// The place of the first query in the sample.
    first: usize,
    /// `[queries, heads * head_width]`.
    queries: ArrayView2<'a, f32>,
    /// `[keys, key_heads * head_width]`.
    keys: ArrayView2<'a, f32>,
    /// `[keys, key_heads * head_width]`.
    values: ArrayView2<'a, f32>,
    /// `[queries, heads * head_width]`.
    out: ArrayViewMut2<'out, f32>,
}

impl Block<'_, '_> {
    /// `scores` is a place to work in.
    fn run(mut self, attention: &Attention, scores: &mut Vec<f32>) -> Result<()> {
        let Attention { heads, key_heads, head_width: width, causal, .. } = *attention;
        let shape = (self.queries.nrows(), self.keys.nrows());
        let scale = 1.0 / (width as f32).sqrt();
        scores.resize(shape.0 * shape.1, 0.0);
        for head in 0..heads {
            let key_head = head / (heads / key_heads);
            let mine = s![.., head * width..(head + 1) * width];
            let theirs = s![.., key_head * width..(key_head + 1) * width];
            let weights = ArrayViewMut2::from_shape(shape, scores);
            let mut weights = weights.map_err(candle_core::Error::wrap)?;
            multiply(
                scale,
                self.queries.slice(mine),
                self.keys.slice(theirs).t(),
                weights.view_mut(),
            );
            for (query, scores) in scores.chunks_exact_mut(shape.1).enumerate() {
                let seen = if causal { self.first + query + 1 } else { shape.1 };
                let (seen, future) = scores.split_at_mut(seen);
                vectorized(|| softmax(seen));
                future.fill(0.0);
            }
            let weights =
                ArrayView2::from_shape(shape, scores).map_err(candle_core::Error::wrap)?;
            multiply(1.0, weights, self.values.slice(theirs), self.out.slice_mut(mine));
        }
        Ok(())
    }
}
