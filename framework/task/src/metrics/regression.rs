//! Squared error and correlations.

use mobillm_core::sample::Truth;
use serde::{Deserialize, Serialize};

use super::ScoreError;
use crate::config::TaskConfig;

/// The scores of a regression.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RegressionScores {
    /// Samples that were scored.
    pub samples: usize,
    /// Mean of (prediction - target)², in the square of the data's own unit.
    pub mse: f64,
    /// Square root of the mean squared error, in the data's own unit.
    pub rmse: f64,
    /// Pearson's correlation: covariance / (deviation of predictions x deviation of targets), from
    /// -1 to 1. 0 where predictions or targets are constant: they say nothing of each other.
    pub pearson: f64,
    /// Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.
    pub spearman: f64,
}

impl RegressionScores {
    pub(super) fn of(
        task: &TaskConfig,
        truths: &[Truth],
        outputs: &[f32],
    ) -> Result<Self, ScoreError> {
        let mut targets = Vec::with_capacity(truths.len());
        for (sample, &truth) in truths.iter().enumerate() {
            match truth {
                Truth::Value(value) => targets.push(task.unscale(value)),
                Truth::Class(_) => return Err(ScoreError::Truth { sample, truth }),
            }
        }
        let predictions: Vec<f64> = outputs.iter().map(|&output| task.unscale(output)).collect();
        let squares = predictions.iter().zip(&targets).map(|(a, b)| (a - b).powi(2));
        let mse = squares.sum::<f64>() / targets.len() as f64;
        Ok(Self {
            samples: targets.len(),
            mse,
            rmse: mse.sqrt(),
            pearson: pearson(&predictions, &targets),
            spearman: pearson(&ranks(&predictions), &ranks(&targets)),
        })
    }
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    // Asked before the sums: rounding gives constant values a tiny deviation.
    let is_constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if is_constant(a) || is_constant(b) {
        return 0.0;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        both += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    (both / (of_a.sqrt() * of_b.sqrt())).clamp(-1.0, 1.0)
}

/// The rank of each value, equal ones sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut next = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = next as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&index| ranks[index] = rank);
        next += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::regression;
    use proptest::prelude::*;

    fn scores(targets: &[f32], outputs: &[f32]) -> RegressionScores {
        let truths: Vec<Truth> = targets.iter().copied().map(Truth::Value).collect();
        RegressionScores::of(&regression(), &truths, outputs).unwrap()
    }

    #[test]
    fn figures_worked_out_by_hand() {
        // In the data's unit the targets are 0, 2.5, 5 and the predictions 0, 5, 2.5.
        let scores = scores(&[0.0, 0.5, 1.0], &[0.0, 1.0, 0.5]);
        assert_eq!(scores.mse, 2.0 * 6.25 / 3.0);
        assert_eq!(scores.rmse, scores.mse.sqrt());
        assert!((scores.pearson - 0.5).abs() < 1e-12);
        assert!((scores.spearman - 0.5).abs() < 1e-12);
    }

    #[test]
    fn equal_values_share_a_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, -0.0, 0.0]), [3.5, 2.0, 3.5, 0.5, 0.5]);
    }

    #[test]
    fn constants_correlate_with_nothing() {
        for (targets, outputs) in
            [([0.1, 0.2, 0.3], [0.1; 3]), ([0.1; 3], [0.1, 0.2, 0.3]), ([0.1; 3], [0.1; 3])]
        {
            let scores = scores(&targets, &outputs);
            assert_eq!((scores.pearson, scores.spearman), (0.0, 0.0));
        }
        assert_eq!(scores(&[0.5], &[0.7]).pearson, 0.0);
    }

    proptest! {
        #[test]
        fn a_rising_line_correlates_fully(
            targets in prop::collection::vec(0u8..100, 2..30),
            slope in 1u8..10,
            offset in -5i8..5,
        ) {
            prop_assume!(targets.iter().any(|target| *target != targets[0]));
            let targets: Vec<f32> = targets.iter().map(|&target| f32::from(target) / 128.0).collect();
            let line = |target: &f32| target * f32::from(slope) + f32::from(offset);
            let rising: Vec<f32> = targets.iter().map(line).collect();
            let falling: Vec<f32> = rising.iter().map(|value| -value).collect();
            let (up, down) = (scores(&targets, &rising), scores(&targets, &falling));
            prop_assert!(up.pearson > 1.0 - 1e-9 && up.spearman > 1.0 - 1e-9);
            prop_assert!(down.pearson < -1.0 + 1e-9 && down.spearman < -1.0 + 1e-9);
        }

        #[test]
        fn only_the_order_counts_for_spearman(values in prop::collection::vec(-3i8..4, 2..20)) {
            let targets: Vec<f32> = (0..values.len()).map(|index| index as f32).collect();
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let cubes: Vec<f32> = values.iter().map(|value| value.powi(3)).collect();
            let (plain, cubed) = (scores(&targets, &values), scores(&targets, &cubes));
            prop_assert!((plain.spearman - cubed.spearman).abs() < 1e-12);
            prop_assert!(plain.pearson.is_finite() && plain.pearson.abs() <= 1.0);
        }
    }
}
