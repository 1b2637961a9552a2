//! Rows no longer than a given norm.

use mobillm_core::activations::SelectedMut;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    AnswerScale, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, ReleaseContext,
    Supervision, SupervisionKind,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::{Objective, SampleId, Truth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hidden states are shortened to a norm, and every label is sent as it is. Guarantees nothing by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// The longest Euclidean norm that a row may have when it leaves.
    #[schemars(range(min = 0.000001), example = 30.0)]
    pub norm: f32,
}

impl Plugin for ClipConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "acme.clip";
}

#[typetag::serde(name = "acme.clip")]
impl PrivacyPolicyConfig for ClipConfig {
    fn check(&self, _: &Objective) -> Vec<Diagnostic> {
        if self.norm.is_finite() && self.norm > 0.0 {
            return Vec::new();
        }
        let finding = Diagnostic::new("norm", format!("{} is no norm", self.norm));
        vec![finding.expected("a positive number")]
    }

    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy> {
        Box::new(Clip { norm: f64::from(self.norm), objective: *objective })
    }
}

/// Clips every row h to h * min(1, norm / |h|), as DP-SGD clips gradients before it adds noise (Abadi et
/// al. 2016, arXiv 1607.00133). It adds none: clipping alone bounds what a row can say, and hides nothing.
#[derive(Debug, Clone)]
pub struct Clip {
    norm: f64,
    objective: Objective,
}

impl PrivacyPolicy for Clip {
    fn info(&self) -> PolicyInfo {
        PolicyInfo {
            supervision: Some(SupervisionKind::Truth),
            answers: AnswerScale::Raw,
            guarantee: "none: rows are shortened, and the server learns every label".into(),
        }
    }

    fn activations(
        &mut self,
        _: &ReleaseContext<'_>,
        selected: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        for mut row in selected.rows_mut().rows_mut() {
            let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            if length > self.norm {
                let factor = self.norm / length;
                row.mapv_inplace(|value| (f64::from(value) * factor) as f32);
            }
        }
        Ok(())
    }

    fn supervise(
        &mut self,
        _: SampleId,
        truth: Truth,
        _: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        match (truth, self.objective) {
            (Truth::Class(class), Objective::Classification { classes })
                if (class as usize) < classes =>
            {
                Ok(Some(Supervision::Label(class)))
            }
            (Truth::Value(value), Objective::Regression) if value.is_finite() => {
                Ok(Some(Supervision::Value(value)))
            }
            _ => Err(PolicyError::Refused {
                policy: ClipConfig::TAG,
                problem: format!("{truth:?} is no truth of a task like {:?}", self.objective),
            }),
        }
    }
}
