//! The labels themselves.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    AnswerScale, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, Supervision,
    SupervisionKind,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::{Objective, SampleId, Truth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::own::{add, check_own};
use crate::prediction_difference::PredictionDifferenceConfig;
use crate::truth::check_truth;

/// Sends every label to the server, beside activations as they are (MobiLLM). Guarantees nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsConfig {
    /// Also send the backbone's own logits, for a side network whose output is added to them.
    pub own_prediction: bool,
}

impl Plugin for LabelsConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "labels";
}

#[typetag::serde(name = "labels")]
impl PrivacyPolicyConfig for LabelsConfig {
    fn check(&self, objective: &Objective) -> Vec<Diagnostic> {
        match objective {
            Objective::Regression if self.own_prediction => {
                let message = "a regression has no logits to add to";
                let tag = PredictionDifferenceConfig::TAG;
                let help = format!("the policy `{tag}` sends what is left of the target");
                vec![Diagnostic::new("own_prediction", message).help(help)]
            }
            _ => Vec::new(),
        }
    }

    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy> {
        Box::new(Labels { objective: *objective, own_prediction: self.own_prediction })
    }
}

/// Releases labels and activations as they are.
///
/// Alone, labels train a side network that answers by itself. With the own prediction they train one
/// that is added: with own logits z, `[C]`, and side output s the loss is the cross-entropy of z + s, and
/// z + s is the answer, so that an untrained side network, s = 0, leaves the backbone's own.
#[derive(Debug, Clone)]
pub struct Labels {
    objective: Objective,
    own_prediction: bool,
}

impl PrivacyPolicy for Labels {
    fn info(&self) -> PolicyInfo {
        let (supervision, guarantee) = match self.own_prediction {
            false => (
                SupervisionKind::Truth,
                "none: the server learns every label, and activations are close to text",
            ),
            true => (
                SupervisionKind::TruthAndOwn,
                "none: the server learns every label and what the backbone predicts, and activations \
                 are close to text",
            ),
        };
        PolicyInfo {
            supervision: Some(supervision),
            answers: AnswerScale::Raw,
            guarantee: guarantee.into(),
        }
    }

    fn supervise(
        &mut self,
        _: SampleId,
        truth: Truth,
        own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        check_truth(LabelsConfig::TAG, &self.objective, truth)?;
        let supervision = match (truth, self.own_prediction) {
            (Truth::Class(class), false) => Supervision::Label(class),
            (Truth::Value(value), false) => Supervision::Value(value),
            (Truth::Class(class), true) => {
                check_own(LabelsConfig::TAG, &self.objective, own)?;
                Supervision::LabelAndOwn(class, own.to_vec())
            }
            (Truth::Value(_), true) => {
                let problem = "`own_prediction` is for classification".into();
                return Err(PolicyError::Refused { policy: LabelsConfig::TAG, problem });
            }
        };
        Ok(Some(supervision))
    }

    fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        if self.own_prediction {
            check_own(LabelsConfig::TAG, &self.objective, own)?;
            add(own, side);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mobillm_testkit::privacy::conformance;

    use super::*;

    const CLASSES: Objective = Objective::Classification { classes: 3 };
    const ALONE: LabelsConfig = LabelsConfig { own_prediction: false };
    const WITH_OWN: LabelsConfig = LabelsConfig { own_prediction: true };

    #[test]
    fn it_is_a_policy() {
        conformance(&ALONE, CLASSES);
        conformance(&ALONE, Objective::Regression);
        conformance(&WITH_OWN, CLASSES);
    }

    #[test]
    fn it_does_not_claim_a_guarantee() {
        for config in [ALONE, WITH_OWN] {
            assert!(config.build(&CLASSES).info().guarantee.starts_with("none:"));
        }
    }

    #[test]
    fn the_own_prediction_goes_with_the_label_and_is_added_to() {
        let own = [0.5, -1.0, 2.0];
        let mut policy = WITH_OWN.build(&CLASSES);
        let told = policy.supervise(SampleId(1), Truth::Class(2), &own).unwrap();
        assert_eq!(told, Some(Supervision::LabelAndOwn(2, own.to_vec())));
        let mut side = [0.25, 0.5, -0.75];
        policy.combine(&own, &mut side).unwrap();
        assert_eq!(side, [0.75, -0.5, 1.25]);
        assert!(policy.combine(&[0.5, -1.0, f32::NAN], &mut side).is_err());
    }

    #[test]
    fn a_regression_has_no_logits() {
        let findings = WITH_OWN.check(&Objective::Regression);
        assert_eq!(
            findings[0].to_string(),
            "own_prediction: a regression has no logits to add to; the policy \
             `prediction-difference` sends what is left of the target"
        );
        let mut policy = WITH_OWN.build(&Objective::Regression);
        assert!(policy.supervise(SampleId(1), Truth::Value(0.5), &[0.5]).is_err());
    }

    #[test]
    fn it_has_no_other_options() {
        let config = serde_json::from_str::<Box<dyn PrivacyPolicyConfig>>(
            r#"{ "type": "labels", "epsilon": 1.0 }"#,
        );
        assert!(config.unwrap_err().to_string().contains("unknown field `epsilon`"));
    }
}
