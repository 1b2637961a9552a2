//! One head of one sample.

use super::lanes::{LANES, Lane, Lanes};
use super::{Attention, Rotation};
use crate::math::exp;
use crate::shared::Shared;

/// Rows of queries whose scores are computed together.
const ROWS: usize = 6;

/// Memory that a thread keeps from head to head.
#[derive(Default)]
pub(super) struct Scratch {
    /// Turned keys, sixteen side by side: `[panels, head_width]` lanes.
    keys: Vec<Lane>,
    /// Values, `[tokens, width in lanes]`.
    values: Vec<Lane>,
    /// Turned and scaled queries of a block, `[ROWS, head_width]`.
    queries: Vec<f32>,
    /// Scores, then weights, of a block, `[ROWS, panels]` lanes.
    scores: Vec<Lane>,
}

/// Computes head `head` of sample `sample`. `VECTORS` vectors of each of a block's rows fit the
/// registers.
///
/// # Safety
/// The lengths were checked, sample and head lie in the tensors, nobody else writes this head, and
/// the processor has what `L` needs.
#[inline(always)]
pub(super) unsafe fn run<L: Lanes, const VECTORS: usize>(
    attention: &Attention<'_>,
    sample: usize,
    head: usize,
    scratch: &mut Scratch,
    output: &Shared<'_, f32>,
) {
    let (heads, width) = (attention.heads, attention.head_width);
    let tokens = attention.lengths.map_or(attention.tokens, |lengths| lengths[sample]);
    let key_head = head / (heads.heads / heads.key_heads);
    let from = |token: usize, head: usize, heads: usize| {
        ((sample * attention.tokens + token) * heads + head) * width
    };
    let panels = tokens.div_ceil(LANES);
    let lanes = width.div_ceil(LANES);
    // Keys beyond the last one are zeros: their scores are masked.
    scratch.keys.clear();
    scratch.keys.resize(panels * width, [0.0; LANES]);
    scratch.values.clear();
    scratch.values.resize(tokens * lanes, [0.0; LANES]);
    scratch.queries.resize(ROWS * width, 0.0);
    scratch.scores.resize(ROWS * panels, [0.0; LANES]);

    for (token, values) in scratch.values.chunks_exact_mut(lanes).enumerate() {
        let at = from(token, key_head, heads.key_heads);
        values.as_flattened_mut()[..width].copy_from_slice(&attention.value[at..at + width]);
        let (panel, lane) = (token / LANES, token % LANES);
        let column = &mut scratch.keys[panel * width..(panel + 1) * width];
        let key = &attention.key[at..at + width];
        turn(key, attention.rotation, token, |at, value| column[at][lane] = value);
    }

    for token in tokens..attention.tokens {
        // SAFETY: heads do not overlap, and this call alone writes this one.
        unsafe { output.part(from(token, head, heads.heads), width) }.fill(0.0);
    }

    let scale = 1.0 / (width as f32).sqrt();
    for first in (0..tokens).step_by(ROWS) {
        let rows = ROWS.min(tokens - first);
        for (row, queries) in scratch.queries.chunks_exact_mut(width).take(rows).enumerate() {
            let at = from(first + row, head, heads.heads);
            let query = &attention.query[at..at + width];
            turn(query, attention.rotation, first + row, |at, value| queries[at] = value * scale);
        }
        let seen = if heads.causal { first + rows } else { tokens };
        let used = seen.div_ceil(LANES);
        score::<L, VECTORS>(scratch, width, panels, used);
        let mut sums = [1.0; ROWS];
        for (row, scores) in scratch.scores.chunks_exact_mut(panels).take(rows).enumerate() {
            let seen = if heads.causal { first + row + 1 } else { tokens };
            sums[row] = soften(&mut scores[..used], seen);
        }
        for lane in (0..lanes).step_by(VECTORS) {
            let means = mix::<L, VECTORS>(scratch, panels, seen, lane, lanes);
            for (row, mean) in means.iter().take(rows).enumerate() {
                let columns = lane * LANES..((lane + VECTORS) * LANES).min(width);
                let at = from(first + row, head, heads.heads) + columns.start;
                // SAFETY: heads do not overlap, and this call alone writes this one.
                let output = unsafe { output.part(at, columns.len()) };
                let inverse = 1.0 / sums[row];
                for (output, value) in output.iter_mut().zip(mean.as_flattened()) {
                    *output = value * inverse;
                }
            }
        }
    }
}

/// Hands each element of `row`, turned by its position if it is to turn, to `put`.
#[inline(always)]
fn turn(
    row: &[f32],
    rotation: Option<&Rotation>,
    position: usize,
    mut put: impl FnMut(usize, f32),
) {
    let Some(rotation) = rotation else {
        row.iter().enumerate().for_each(|(at, &value)| put(at, value));
        return;
    };
    let (low, high) = row.split_at(rotation.pairs);
    let (cosines, sines) = rotation.at(position);
    for pair in 0..rotation.pairs {
        put(pair, low[pair] * cosines[pair] - high[pair] * sines[pair]);
        put(pair + rotation.pairs, high[pair] * cosines[pair] + low[pair] * sines[pair]);
    }
}

/// The block's scores with the keys of the first `used` panels.
#[inline(always)]
fn score<L: Lanes, const VECTORS: usize>(
    scratch: &mut Scratch,
    width: usize,
    panels: usize,
    used: usize,
) {
    let mut panel = 0;
    while panel + VECTORS <= used {
        score_panels::<L, VECTORS>(scratch, width, panels, panel);
        panel += VECTORS;
    }
    while panel < used {
        score_panels::<L, 1>(scratch, width, panels, panel);
        panel += 1;
    }
}

/// The scores with the keys of `V` panels from `panel` on.
#[inline(always)]
fn score_panels<L: Lanes, const V: usize>(
    scratch: &mut Scratch,
    width: usize,
    panels: usize,
    panel: usize,
) {
    let queries: [&[f32]; ROWS] =
        std::array::from_fn(|row| &scratch.queries[row * width..(row + 1) * width]);
    let keys: [&[Lane]; V] = std::array::from_fn(|vector| {
        &scratch.keys[(panel + vector) * width..(panel + vector + 1) * width]
    });
    let mut sums = [[L::splat(0.0); V]; ROWS];
    for at in 0..width {
        let mut key = [L::splat(0.0); V];
        for (key, keys) in key.iter_mut().zip(keys) {
            *key = L::load(&keys[at]);
        }
        for (sums, queries) in sums.iter_mut().zip(queries) {
            let query = L::splat(queries[at]);
            for (sum, key) in sums.iter_mut().zip(key) {
                *sum = query.multiply_add(key, *sum);
            }
        }
    }
    for (scores, sums) in scratch.scores.chunks_exact_mut(panels).zip(sums) {
        for (score, sum) in scores[panel..panel + V].iter_mut().zip(sums) {
            sum.store(score);
        }
    }
}

/// Makes weights, which are not divided by their sum, of the first `seen` scores of a row, and zeros
/// of the others. Returns their sum.
#[inline(always)]
fn soften(scores: &mut [Lane], seen: usize) -> f32 {
    scores.as_flattened_mut()[seen..].fill(f32::NEG_INFINITY);
    let mut most = [f32::NEG_INFINITY; LANES];
    for lane in &*scores {
        for (most, &score) in most.iter_mut().zip(lane) {
            *most = if score > *most { score } else { *most };
        }
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    for lane in scores {
        for (sum, score) in sums.iter_mut().zip(lane) {
            *score = exp(*score - most);
            *sum += *score;
        }
    }
    sums.into_iter().sum()
}

/// The block's sums of the first `seen` values by weight: `VECTORS` lanes from `lane` on.
#[inline(always)]
fn mix<L: Lanes, const VECTORS: usize>(
    scratch: &Scratch,
    panels: usize,
    seen: usize,
    lane: usize,
    lanes: usize,
) -> [[Lane; VECTORS]; ROWS] {
    if lane + VECTORS <= lanes {
        return mix_lanes::<L, VECTORS>(scratch, panels, seen, lane, lanes);
    }
    let mut means = [[[0.0; LANES]; VECTORS]; ROWS];
    for vector in 0..lanes - lane {
        let one = mix_lanes::<L, 1>(scratch, panels, seen, lane + vector, lanes);
        for (mean, [one]) in means.iter_mut().zip(one) {
            mean[vector] = one;
        }
    }
    means
}

#[inline(always)]
fn mix_lanes<L: Lanes, const V: usize>(
    scratch: &Scratch,
    panels: usize,
    seen: usize,
    lane: usize,
    lanes: usize,
) -> [[Lane; V]; ROWS] {
    let weights: [&[f32]; ROWS] = std::array::from_fn(|row| {
        &scratch.scores[row * panels..(row + 1) * panels].as_flattened()[..seen]
    });
    let mut sums = [[L::splat(0.0); V]; ROWS];
    for (token, values) in scratch.values.chunks_exact(lanes).take(seen).enumerate() {
        let mut value = [L::splat(0.0); V];
        for (value, values) in value.iter_mut().zip(&values[lane..]) {
            *value = L::load(values);
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = L::splat(weights[token]);
            for (sum, value) in sums.iter_mut().zip(value) {
                *sum = weight.multiply_add(value, *sum);
            }
        }
    }
    let mut means = [[[0.0; LANES]; V]; ROWS];
    for (means, sums) in means.iter_mut().zip(sums) {
        for (mean, sum) in means.iter_mut().zip(sums) {
            sum.store(mean);
        }
    }
    means
}
