//! What the device predicts without any training: the backbone's own task head or, where it has none,
//! the prior of the training rows.

use mobillm_core::backbone::OwnPrediction;
use mobillm_core::sample::{Objective, Truth};
use ndarray::{Array2, ArrayView1};

/// Where a device's own prediction comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Own {
    /// The backbone's task head. A regression's is in the unit of the data: `range` scales it as the
    /// targets are scaled.
    Head {
        /// The task's range of targets, if it has one.
        range: Option<[f64; 2]>,
    },
    /// The same for every sample: see [`prior`].
    Prior(Vec<f32>),
}

impl Own {
    /// The device's own prediction for `samples` samples, `[samples, outputs]`, of which the backbone
    /// said `head`. `None` if the backbone was to say something and did not.
    pub fn predict(&self, head: OwnPrediction, samples: usize) -> Option<Array2<f32>> {
        match self {
            Self::Head { range: None } => head,
            Self::Head { range: Some([low, high]) } => {
                let scale = |value: f32| ((f64::from(value) - low) / (high - low)) as f32;
                head.map(|values| values.mapv_into(scale))
            }
            Self::Prior(prior) => {
                let row = ArrayView1::from(prior);
                row.broadcast((samples, prior.len())).map(|rows| rows.to_owned())
            }
        }
    }
}

/// What to answer when nothing is known but the training rows' truths: log frequencies of the
/// classes, or the mean of the targets.
pub fn prior(objective: &Objective, truths: &[Truth]) -> Vec<f32> {
    let mut sums = vec![0.0; objective.outputs()];
    for truth in truths {
        match *truth {
            Truth::Class(class) => sums[class as usize] += 1.0,
            Truth::Value(value) => sums[0] += f64::from(value),
        }
    }
    let rows = truths.len().max(1) as f64;
    let of = |sum: &f64| match objective {
        // One imagined row of every class keeps the logarithm finite.
        Objective::Classification { classes } => ((sum + 1.0) / (rows + *classes as f64)).ln(),
        Objective::Regression => sum / rows,
    };
    sums.iter().map(|sum| of(sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_prior_answers_the_most_frequent_class_or_the_mean() {
        let classes = Objective::Classification { classes: 3 };
        let truths = [Truth::Class(1), Truth::Class(1), Truth::Class(0)];
        let prior_classes = prior(&classes, &truths);
        assert!(prior_classes[1] > prior_classes[0] && prior_classes[0] > prior_classes[2]);
        assert!(prior_classes.iter().all(|value| value.is_finite()));
        let values = [Truth::Value(0.25), Truth::Value(0.75)];
        assert_eq!(prior(&Objective::Regression, &values), [0.5]);
    }

    #[test]
    fn a_prior_is_the_same_for_all_and_a_head_is_scaled_as_the_targets_are() {
        let own = Own::Prior(vec![0.5, -1.0]);
        assert_eq!(own.predict(None, 2), Some(array![[0.5, -1.0], [0.5, -1.0]]));
        let head = || Some(array![[5.0], [2.5]]);
        assert_eq!(Own::Head { range: None }.predict(head(), 2), head());
        let scaled = Own::Head { range: Some([0.0, 5.0]) }.predict(head(), 2);
        assert_eq!(scaled, Some(array![[1.0], [0.5]]));
        assert_eq!(Own::Head { range: None }.predict(None, 2), None);
    }
}
