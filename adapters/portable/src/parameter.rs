//! One trained tensor.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

/// A trained tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the adapter file, such as `layer.3.down`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts.
    start: Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Zero,
    One,
    /// Uniform with mean 0 and one over this as its variance.
    Spread(usize),
}

impl Parameter {
    pub(crate) fn new(name: String, shape: &[usize], start: Start) -> Self {
        Self { name, shape: shape.to_vec(), start }
    }

    /// How many numbers it has; `None` if that does not fit a machine word.
    pub fn size(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
    }

    /// Whether weight decay applies: to matrices only.
    pub fn decays(&self) -> bool {
        self.shape.len() == 2
    }

    /// Its initial values, drawn from `rng` where they are random.
    ///
    /// Uniform rather than normal numbers: they need no logarithm, whose last bit differs between
    /// platforms.
    pub(crate) fn initial(&self, rng: &mut ChaCha12Rng) -> Vec<f32> {
        let value = |_| match self.start {
            Start::Zero => 0.0,
            Start::One => 1.0,
            Start::Spread(reciprocal) => {
                let unit = (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
                unit * (3.0 / reciprocal as f32).sqrt()
            }
        };
        (0..self.shape.iter().product()).map(value).collect()
    }
}
