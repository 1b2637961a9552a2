//! The difference between the truth and what the backbone predicts by itself.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    AnswerScale, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, Supervision,
    SupervisionKind,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::{Objective, SampleId, Truth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::own::{add, check_own, probabilities};
use crate::truth::check_truth;

/// Sends the truth less the backbone's own prediction, beside activations as they are (PAE MobiLLM).
/// Guarantees nothing: the label is plainly readable from it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionDifferenceConfig {
    /// For a regression, the largest difference either way; larger ones are cut off. Without it, 1: the
    /// whole range of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip: Option<f64>,
}

/// The largest difference where nobody says: the whole range of the target.
const WHOLE_RANGE: f32 = 1.0;

impl Plugin for PredictionDifferenceConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "prediction-difference";
}

#[typetag::serde(name = "prediction-difference")]
impl PrivacyPolicyConfig for PredictionDifferenceConfig {
    fn check(&self, objective: &Objective) -> Vec<Diagnostic> {
        let Some(clip) = self.clip else { return Vec::new() };
        let finding = |message: String| Diagnostic::new("clip", message);
        match objective {
            Objective::Classification { .. } => {
                let finding = finding("differences of probabilities are not clipped".to_owned());
                vec![finding.help("leave it out: it is for a regression")]
            }
            Objective::Regression if !(clip as f32 > 0.0 && (clip as f32).is_finite()) => {
                let finding = finding(format!("{clip} bounds nothing"));
                vec![finding.expected("a number above 0").help("1 is the whole range")]
            }
            Objective::Regression => Vec::new(),
        }
    }

    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy> {
        let clip = self.clip.map_or(WHOLE_RANGE, |clip| clip as f32);
        Box::new(PredictionDifference { objective: *objective, clip })
    }
}

/// Releases the prediction difference of PAE MobiLLM (arXiv 2507.01216), truth less own prediction, and
/// adds what the side network makes of it.
///
/// Classification into C classes, with own logits z, true class y and side output s:
///
/// ```text
/// d_c      = [c = y] - softmax(z)_c      [C] numbers in -1 to 1, together 0
/// answer_c = softmax(z)_c + s_c          estimated probabilities, not clipped or normalised
/// ```
///
/// Regression, with own prediction v and truth t, both on the scale on which the target's range is 0 to 1:
///
/// ```text
/// d      = t - v, at most `clip` and at least -`clip`      [1] number
/// answer = v + s
/// ```
///
/// So an untrained side network, s = 0, leaves the backbone's own answer, ties and all, and one that
/// learned everything, s = d, gives the truth (where nothing was clipped).
///
/// A backbone without a task head predicts the prior: every sample has the same softmax(z), and at step 0
/// every answer is the most frequent class. With n_c of the N training rows in class c it is their shares
/// after add-one smoothing, (n_c + 1) / (N + C): one imagined row of every class keeps z finite. For a
/// regression, v is the mean of the training rows' targets.
///
/// No label is sent, and every label can be read: the true class is where d is positive. Without a task
/// head d has only C different values, which name the class even without looking at signs.
#[derive(Debug, Clone)]
pub struct PredictionDifference {
    objective: Objective,
    clip: f32,
}

impl PrivacyPolicy for PredictionDifference {
    fn info(&self) -> PolicyInfo {
        let (answers, guarantee) = match self.objective {
            Objective::Classification { .. } => (
                AnswerScale::Probability,
                "none: only the true class has a positive difference, so the server can read every \
                 label, and activations are close to text",
            ),
            Objective::Regression => (
                AnswerScale::Raw,
                "none: the server can add to a difference what it takes for the own prediction, and \
                 activations are close to text",
            ),
        };
        let supervision = Some(SupervisionKind::Difference);
        PolicyInfo { supervision, answers, guarantee: guarantee.into() }
    }

    fn supervise(
        &mut self,
        _: SampleId,
        truth: Truth,
        own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        check_truth(PredictionDifferenceConfig::TAG, &self.objective, truth)?;
        check_own(PredictionDifferenceConfig::TAG, &self.objective, own)?;
        let difference = match truth {
            Truth::Class(class) => (0..)
                .zip(probabilities(own))
                .map(|(c, own)| if c == class { 1.0 - own } else { -own })
                .collect(),
            Truth::Value(value) => {
                // `clamp` would panic at a `clip` that nobody has checked.
                own.iter().map(|own| (value - own).max(-self.clip).min(self.clip)).collect()
            }
        };
        Ok(Some(Supervision::Difference(difference)))
    }

    fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        check_own(PredictionDifferenceConfig::TAG, &self.objective, own)?;
        match self.objective {
            Objective::Classification { .. } => add(&probabilities(own), side),
            Objective::Regression => add(own, side),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mobillm_testkit::privacy::conformance;
    use proptest::prelude::*;

    use super::*;

    const CLASSES: Objective = Objective::Classification { classes: 3 };

    fn difference(clip: Option<f64>, objective: Objective, truth: Truth, own: &[f32]) -> Vec<f32> {
        let mut policy = PredictionDifferenceConfig { clip }.build(&objective);
        match policy.supervise(SampleId(1), truth, own) {
            Ok(Some(Supervision::Difference(difference))) => difference,
            other => panic!("expected a difference, got {other:?}"),
        }
    }

    #[test]
    fn it_is_a_policy() {
        let config = PredictionDifferenceConfig::default();
        for classes in [2, 3, 17] {
            conformance(&config, Objective::Classification { classes });
        }
        conformance(&config, Objective::Regression);
    }

    #[test]
    fn it_does_not_claim_a_guarantee() {
        for objective in [CLASSES, Objective::Regression] {
            let info = PredictionDifferenceConfig::default().build(&objective).info();
            assert!(info.guarantee.starts_with("none:"));
        }
    }

    #[test]
    fn it_is_the_truth_less_the_own_prediction() {
        let own = [0.5f32.ln(), 0.25f32.ln(), 0.25f32.ln()];
        assert_eq!(difference(None, CLASSES, Truth::Class(1), &own), [-0.5, 0.75, -0.25]);
        assert_eq!(difference(None, Objective::Regression, Truth::Value(0.75), &[0.5]), [0.25]);
        assert_eq!(difference(None, Objective::Regression, Truth::Value(0.25), &[0.5]), [-0.25]);
    }

    #[test]
    fn only_a_regression_is_clipped() {
        let clipped =
            |clip, truth| difference(clip, Objective::Regression, Truth::Value(truth), &[0.5])[0];
        assert_eq!([1.0, 0.0, 0.625].map(|truth| clipped(Some(0.25), truth)), [0.25, -0.25, 0.125]);
        assert_eq!([9.0, -9.0, 0.625].map(|truth| clipped(None, truth)), [1.0, -1.0, 0.125]);
        for clip in [0.25, 1.0, -1.0, f64::NAN] {
            let findings = PredictionDifferenceConfig { clip: Some(clip) }.check(&CLASSES);
            assert_eq!(
                findings[0].to_string(),
                "clip: differences of probabilities are not clipped; leave it out: it is for a \
                 regression"
            );
        }
    }

    #[test]
    fn a_clip_that_bounds_nothing_is_a_mistake() {
        for clip in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            let config = PredictionDifferenceConfig { clip: Some(clip) };
            let found = config.check(&Objective::Regression)[0].to_string();
            let expected = "bounds nothing; expected a number above 0; 1 is the whole range";
            assert_eq!(found, format!("clip: {clip} {expected}"));
        }
        let schema = schemars::schema_for!(PredictionDifferenceConfig);
        assert_eq!(schema.pointer("/properties/clip/exclusiveMinimum"), Some(&0.into()));
    }

    #[test]
    fn a_clip_that_nobody_set_is_in_no_config() {
        for text in [
            r#"{"type":"prediction-difference"}"#,
            r#"{"type":"prediction-difference","clip":0.5}"#,
        ] {
            let config: Box<dyn PrivacyPolicyConfig> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&config).unwrap(), text);
            assert!(config.check(&Objective::Regression).is_empty());
        }
    }

    #[test]
    fn an_own_prediction_that_does_not_fit_is_refused_by_name() {
        let mut policy = PredictionDifferenceConfig::default().build(&CLASSES);
        let own = [0.0, f32::NAN, 0.0];
        let told = policy.supervise(SampleId(1), Truth::Class(0), &own).map(drop);
        for result in [told, policy.combine(&own, &mut [0.0; 3])] {
            assert_eq!(
                result.unwrap_err().to_string(),
                "policy prediction-difference: expected an own prediction of 3 finite numbers, but \
                 output 1 is NaN; the backbone's task head is not that of this task, or damaged"
            );
        }
    }

    proptest! {
        #[test]
        fn it_sums_to_zero_and_only_the_true_class_gains(
            own in prop::collection::vec(-100f32..100.0, 3),
            class in 0u32..3,
        ) {
            let difference = difference(None, CLASSES, Truth::Class(class), &own);
            let sum: f32 = difference.iter().sum();
            prop_assert!(sum.abs() < 1e-6, "sum {}", sum);
            for (c, value) in (0..).zip(difference) {
                let range = if c == class { 0.0..=1.0 } else { -1.0..=0.0 };
                prop_assert!(range.contains(&value));
            }
        }
    }
}
