//! The optimizer's rule, once for all engines.

use crate::blueprint::Training;

/// The scalars of one AdamW step (Loshchilov and Hutter, arXiv 1711.05101).
///
/// For a weight `w` with gradient `g` and moments `m`, `v`, both zero at first:
///
/// ```text
/// g <- clip g                                  one factor for all parameters together
/// m <- beta1 m + (1 - beta1) g
/// v <- beta2 v + (1 - beta2) g^2
/// w <- decay w                                 matrices only
/// w <- w - rate m / (sqrt(v second) + epsilon)
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate of the schedule.
    pub learning_rate: f64,
    /// `min(1, largest norm / norm of all gradients)`.
    pub clip: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// `1 - learning rate * weight decay`.
    pub decay: f32,
    /// `learning rate / (1 - beta1^t)`, with t counted from 1: the first moment's bias correction.
    pub rate: f32,
    /// `1 / (1 - beta2^t)`: the second moment's bias correction.
    pub second: f32,
    /// Keeps the divisor off zero.
    pub epsilon: f32,
}

impl AdamWStep {
    /// Step `step`, counted from 0, of `training`, for gradients whose common Euclidean norm is
    /// `norm`.
    pub fn new(training: &Training, step: u64, norm: f64) -> Self {
        let optimizer = &training.optimizer;
        let learning_rate = optimizer.learning_rate_at(step, training.steps);
        let clips = optimizer.clip > 0.0 && norm > optimizer.clip;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64 + 1.0);
        Self {
            learning_rate,
            clip: if clips { (optimizer.clip / norm) as f32 } else { 1.0 },
            beta1: optimizer.beta1 as f32,
            beta2: optimizer.beta2 as f32,
            decay: (1.0 - learning_rate * optimizer.weight_decay) as f32,
            rate: (learning_rate / correction(optimizer.beta1)) as f32,
            second: (1.0 / correction(optimizer.beta2)) as f32,
            epsilon: 1e-8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::context;
    use mobillm_core::side_network::{Optimizer, SideNetworkContext};

    #[test]
    fn corrections_fade_and_large_gradients_are_clipped() {
        let optimizer = Optimizer { learning_rate: 0.1, warmup: 0.0, ..Optimizer::default() };
        let context = SideNetworkContext { optimizer, steps: 10_000_000, ..context() };
        let training = Training::new(&context);
        let first = AdamWStep::new(&training, 0, 4.0);
        assert_eq!(first.clip, 0.25);
        assert!((first.rate - 1.0).abs() < 1e-5 && (first.second - 1000.0).abs() < 0.1);
        assert!((first.decay - 0.999).abs() < 1e-6);
        let late = AdamWStep::new(&training, 100_000, 0.5);
        assert_eq!((late.clip, late.second), (1.0, 1.0));
        let unclipped = Training { optimizer: Optimizer { clip: 0.0, ..optimizer }, ..training };
        assert_eq!(AdamWStep::new(&unclipped, 0, 1e9).clip, 1.0);
    }
}
