//! Attention, one head of one sample at a time.
//!
//! A row of the result is computed from its own sample in an order that neither other samples nor
//! padding change: masked scores become exact zeros, which add nothing. So equal samples give equal
//! bits whatever their batch mates are. With ordinary kernels they are equal to rounding only, and
//! a difference in rounding, quantized, may become a whole step.
//!
//! Scores of a block of rows are kept, not those of the whole head: memory grows with the tokens,
//! not with their square.

mod head;
mod lanes;

use std::cell::RefCell;

use crate::isa::{Isa, Set};
use crate::shared::Shared;
use head::Scratch;
use lanes::Array;

/// What attention does, but for its tensors.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / key_heads` heads of queries in a row.
    pub key_heads: usize,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

/// Cosine and sine of each position's and pair's angle, `[positions, pairs]`.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    pairs: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// That of positions 0 to `positions`; what is there already is kept.
    pub fn reach(&mut self, positions: usize, frequencies: &[f32]) {
        self.pairs = frequencies.len();
        let known = self.cosines.len() / self.pairs.max(1);
        for position in known..positions {
            let angles = frequencies.iter().map(|&frequency| position as f32 * frequency);
            let (cosines, sines): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos(), a.sin())).unzip();
            self.cosines.extend(cosines);
            self.sines.extend(sines);
        }
    }

    /// Cosines and sines of `position`.
    #[inline(always)]
    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let pairs = position * self.pairs..(position + 1) * self.pairs;
        (&self.cosines[pairs.clone()], &self.sines[pairs])
    }
}

/// Attention over a batch.
pub struct Attention<'a> {
    /// Heads, and what they see.
    pub heads: Heads,
    /// Tokens of a sample, padding included.
    pub tokens: usize,
    /// Numbers of a head.
    pub head_width: usize,
    /// `[batch, tokens, heads * head_width]`
    pub query: &'a [f32],
    /// `[batch, tokens, key_heads * head_width]`
    pub key: &'a [f32],
    /// `[batch, tokens, key_heads * head_width]`
    pub value: &'a [f32],
    /// Tokens of each sample that are no padding, `[batch]`; all if left out.
    pub lengths: Option<&'a [usize]>,
    /// How queries and keys turn, if they do; it reaches `tokens`.
    pub rotation: Option<&'a Rotation>,
}

impl Attention<'_> {
    fn samples(&self) -> usize {
        self.query.len() / (self.tokens * self.heads.heads * self.head_width).max(1)
    }

    /// Whether all lengths agree.
    pub fn check(&self) -> Result<(), String> {
        let Heads { heads, key_heads, .. } = self.heads;
        let (samples, tokens, width) = (self.samples(), self.tokens, self.head_width);
        let wrong = |what: &str, got: usize, expected: String| {
            Err(format!("{what} has {got} elements, expected {expected}"))
        };
        if key_heads == 0 || !heads.is_multiple_of(key_heads) {
            return Err(format!("{heads} heads do not share {key_heads} heads of keys"));
        }
        for (what, tensor, heads) in [
            ("the query", self.query, heads),
            ("the key", self.key, key_heads),
            ("the value", self.value, key_heads),
        ] {
            if tensor.len() != samples * tokens * heads * width {
                let expected = format!("{samples} x {tokens} x {heads} heads x {width}");
                return wrong(what, tensor.len(), expected);
            }
        }
        if let Some(lengths) = self.lengths.filter(|lengths| lengths.len() != samples) {
            return wrong("the mask", lengths.len(), format!("{samples} samples"));
        }
        match self.rotation {
            Some(rotation) if 2 * rotation.pairs != width => {
                wrong("`frequencies`", rotation.pairs, format!("half of {width}"))
            }
            Some(rotation) if rotation.cosines.len() < tokens * rotation.pairs => {
                wrong("the rotation", rotation.cosines.len(), format!("{tokens} positions"))
            }
            _ => Ok(()),
        }
    }

    /// How many tasks there are; they may run in any order, on any threads.
    pub fn tasks(&self) -> usize {
        self.samples() * self.heads.heads
    }

    /// Runs one task, which writes one head of one sample of `output`, laid out as the query.
    ///
    /// # Safety
    /// The lengths were [checked](Self::check), `task` is below [`tasks`](Self::tasks), and no other
    /// call with this output has the same task.
    pub unsafe fn run(&self, isa: Isa, task: usize, output: &Shared<'_, f32>) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        let (sample, head) = (task / self.heads.heads, task % self.heads.heads);
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: the instruction set is there where its value is, and heads of different
            // tasks do not overlap.
            unsafe {
                match isa.set() {
                    #[cfg(target_arch = "x86_64")]
                    Set::Avx512 => avx512(self, sample, head, scratch, output),
                    #[cfg(target_arch = "x86_64")]
                    Set::Avx2 => avx2(self, sample, head, scratch, output),
                    Set::Portable => {
                        head::run::<Array<false>, 1>(self, sample, head, scratch, output)
                    }
                }
            }
        });
    }
}

/// # Safety
/// As for [`Attention::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(
    attention: &Attention<'_>,
    sample: usize,
    head: usize,
    scratch: &mut Scratch,
    output: &Shared<'_, f32>,
) {
    // SAFETY: as the caller promises.
    unsafe { head::run::<lanes::Avx512, 4>(attention, sample, head, scratch, output) }
}

/// # Safety
/// As for [`Attention::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(
    attention: &Attention<'_>,
    sample: usize,
    head: usize,
    scratch: &mut Scratch,
    output: &Shared<'_, f32>,
) {
    // SAFETY: as the caller promises.
    unsafe { head::run::<Array<true>, 1>(attention, sample, head, scratch, output) }
}

#[cfg(test)]
mod tests;
