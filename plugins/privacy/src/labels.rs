//! The labels themselves.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, Supervision, SupervisionKind,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::{Objective, SampleId, Truth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sends every label to the server, beside activations as they are (MobiLLM). Guarantees nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelsConfig {}

impl Plugin for LabelsConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "labels";
}

#[typetag::serde(name = "labels")]
impl PrivacyPolicyConfig for LabelsConfig {
    fn check(&self, _: &Objective) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy> {
        Box::new(Labels { objective: *objective })
    }
}

/// Releases labels and activations as they are. The answer is the side network's alone.
#[derive(Debug, Clone)]
pub struct Labels {
    objective: Objective,
}

impl PrivacyPolicy for Labels {
    fn info(&self) -> PolicyInfo {
        PolicyInfo {
            supervision: Some(SupervisionKind::Label),
            guarantee: "none: the server learns every label, and activations are close to text"
                .into(),
        }
    }

    fn supervise(
        &mut self,
        _: SampleId,
        truth: Truth,
        _: Option<&[f32]>,
    ) -> Result<Option<Supervision>, PolicyError> {
        match (self.objective, truth) {
            (Objective::Classification { classes }, Truth::Class(class))
                if (class as usize) < classes =>
            {
                Ok(Some(Supervision::Label(class)))
            }
            (Objective::Regression, Truth::Value(value)) => Ok(Some(Supervision::Value(value))),
            (objective, truth) => Err(PolicyError::Refused {
                policy: LabelsConfig::TAG,
                problem: format!("{truth:?} is no truth of a task like {objective:?}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use mobillm_testkit::privacy::{Answer, conformance};

    use super::*;

    const CLASSES: Objective = Objective::Classification { classes: 3 };

    #[test]
    fn it_is_a_policy() {
        conformance(&LabelsConfig {}, CLASSES, Answer::Side);
        conformance(&LabelsConfig {}, Objective::Regression, Answer::Side);
    }

    #[test]
    fn it_does_not_claim_a_guarantee() {
        let info = LabelsConfig {}.build(&CLASSES).info();
        assert!(info.guarantee.starts_with("none"));
    }

    #[test]
    fn the_truth_of_another_task_is_refused() {
        let refused = |objective: Objective, truth| {
            LabelsConfig {}.build(&objective).supervise(SampleId(1), truth, None).is_err()
        };
        assert!(refused(CLASSES, Truth::Class(3)));
        assert!(refused(CLASSES, Truth::Value(0.5)));
        assert!(refused(Objective::Regression, Truth::Class(0)));
    }

    #[test]
    fn it_has_no_options() {
        let config = serde_json::from_str::<Box<dyn PrivacyPolicyConfig>>(
            r#"{ "type": "labels", "epsilon": 1.0 }"#,
        );
        assert!(config.unwrap_err().to_string().contains("unknown field `epsilon`"));
    }
}
