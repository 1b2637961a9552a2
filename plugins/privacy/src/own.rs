//! The backbone's own prediction: checked, as probabilities that rank as its logits do, and added to.

use mobillm_core::privacy::PolicyError;
use mobillm_core::sample::Objective;

/// Refuses an own prediction that is not one finite number for each of `objective`'s outputs.
///
/// # Errors
/// If there are more or fewer, or one is not finite.
pub(crate) fn check_own(
    policy: &'static str,
    objective: &Objective,
    own: &[f32],
) -> Result<(), PolicyError> {
    let outputs = objective.outputs();
    let found = match own.iter().position(|value| !value.is_finite()) {
        Some(output) => format!("output {output} is {}", own[output]),
        None if own.len() != outputs => format!("there are {}", own.len()),
        None => return Ok(()),
    };
    let problem = format!(
        "expected an own prediction of {outputs} finite numbers, but {found}; the backbone's task \
         head is not that of this task, or damaged"
    );
    Err(PolicyError::Refused { policy, problem })
}

/// The softmax of `logits`: each in 0 to 1, together 1 to rounding. A larger logit has a larger
/// probability and an equal one an equal one, however near or far they lie.
///
/// A plain softmax has ties where logits have none: two near ones round to the same number, and all
/// that lie far below the largest underflow to zero. Here such probabilities are set apart by a step in
/// the last place, upwards from the smallest. Inside it is f64 and relative to the largest logit, so
/// that nothing overflows. What is not finite makes all of them NaN.
pub(crate) fn probabilities(logits: &[f32]) -> Vec<f32> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weights: Vec<f64> =
        logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut probabilities: Vec<f32> = weights.iter().map(|weight| (weight / sum) as f32).collect();

    let mut ascending: Vec<usize> = (0..logits.len()).collect();
    ascending.sort_unstable_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    for neighbours in ascending.windows(2) {
        let (lower, upper) = (neighbours[0], neighbours[1]);
        let floor = probabilities[lower];
        probabilities[upper] = match logits[upper] > logits[lower] {
            true => probabilities[upper].max(floor.next_up()),
            false => floor,
        };
    }
    probabilities
}

/// Adds `own` to `side`.
pub(crate) fn add(own: &[f32], side: &mut [f32]) {
    side.iter_mut().zip(own).for_each(|(side, own)| *side += own);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ordinary logits, any other finite ones, and near kin of the first.
    fn logits() -> impl Strategy<Value = Vec<f32>> {
        use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
        let any = POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO;
        let logit = prop_oneof![-20f32..20.0, any, Just(0.0), Just(-0.0)];
        prop::collection::vec((logit, 0..4), 1..40).prop_map(|logits| {
            let first = logits[0].0;
            let near = |(logit, kin)| match kin {
                0 => first,
                1 => first.next_up().min(f32::MAX),
                _ => logit,
            };
            logits.into_iter().map(near).collect()
        })
    }

    proptest! {
        #[test]
        fn they_rank_as_the_logits(logits in logits()) {
            let probabilities = probabilities(&logits);
            for (a, &p) in probabilities.iter().enumerate() {
                prop_assert!((0.0..=1.0).contains(&p));
                for (b, q) in probabilities.iter().enumerate() {
                    prop_assert_eq!(p.partial_cmp(q), logits[a].partial_cmp(&logits[b]));
                }
            }
            let sum: f64 = probabilities.iter().copied().map(f64::from).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "sum {}", sum);
        }

        #[test]
        fn they_are_the_softmax(logits in prop::collection::vec(-20f32..20.0, 1..40)) {
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            for (p, &logit) in probabilities(&logits).into_iter().zip(&logits) {
                let expected = f64::from(logit).exp() / sum;
                prop_assert!((f64::from(p) - expected).abs() < 1e-6 * expected);
            }
        }
    }

    #[test]
    fn neither_rounding_nor_underflow_makes_a_tie() {
        for logits in [
            [1.0, 1.0f32.next_up(), 1.0],
            [0.0, 1e-30, 2e-30],
            [0.0, -800.0, -900.0],
            [f32::MAX, f32::MIN, -1.0],
            [3e38, 3.1e38, 3e38],
        ] {
            let probabilities = probabilities(&logits);
            let rank = |values: &[f32]| [0, 1, 2].map(|a| [0, 1, 2].map(|b| values[a] < values[b]));
            assert_eq!(rank(&probabilities), rank(&logits), "{logits:?}: {probabilities:?}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_visible() {
        for wrong in [f32::NAN, f32::INFINITY] {
            assert!(probabilities(&[0.0, wrong]).iter().all(|p| p.is_nan()));
        }
        assert!(probabilities(&[]).is_empty());
    }
}
