//! A privacy policy for mobillm, `plugin.tag` in a config: rows of bounded norm, and the truth.
//!
//! It bounds what a row can say at all, which is where noise could begin; by itself it guarantees nothing.
//!
//! ```
//! use mobillm_core::privacy::PrivacyPolicyConfig;
//! use mobillm_core::sample::Objective;
//! use plugin_ident::PluginTypeConfig;
//!
//! let policy = PluginTypeConfig::default().build(&Objective::Regression);
//! assert!(policy.info().guarantee.starts_with("none"));
//! ```

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

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    privacy_policies: [PluginTypeConfig],
}

/// Scales rows down to a largest norm, and tells the truth.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTypeConfig {
    /// Largest Euclidean norm of a row.
    #[schemars(range(min = 1e-3, max = 1e6))]
    pub norm: f32,
}

impl Default for PluginTypeConfig {
    fn default() -> Self {
        Self { norm: 50.0 }
    }
}

impl Plugin for PluginTypeConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "plugin.tag";
}

#[typetag::serde(name = "plugin.tag")]
impl PrivacyPolicyConfig for PluginTypeConfig {
    fn check(&self, _objective: &Objective) -> Vec<Diagnostic> {
        if (1e-3..=1e6).contains(&self.norm) {
            return Vec::new();
        }
        let message = format!("{} is out of range", self.norm);
        vec![Diagnostic::new("norm", message).expected("0.001 to 1000000")]
    }

    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy> {
        Box::new(PluginType {
            norm: self.norm,
            objective: *objective,
        })
    }
}

/// See [`PluginTypeConfig`].
#[derive(Debug, Clone)]
pub struct PluginType {
    norm: f32,
    objective: Objective,
}

impl PrivacyPolicy for PluginType {
    fn info(&self) -> PolicyInfo {
        PolicyInfo {
            supervision: Some(SupervisionKind::Truth),
            answers: AnswerScale::Raw,
            guarantee: "none: rows are scaled down, and the server learns every label".to_owned(),
        }
    }

    fn activations(
        &mut self,
        _context: &ReleaseContext<'_>,
        selected: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        for mut row in selected.rows_mut().outer_iter_mut() {
            // In f64 the squares of no f32 overflow.
            let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            let norm = squares.sqrt();
            if norm > f64::from(self.norm) {
                let factor = f64::from(self.norm) / norm;
                row.mapv_inplace(|value| (f64::from(value) * factor) as f32);
            }
        }
        Ok(())
    }

    fn supervise(
        &mut self,
        _sample: SampleId,
        truth: Truth,
        _own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        match (self.objective, truth) {
            (Objective::Classification { classes }, Truth::Class(class))
                if (class as usize) < classes =>
            {
                Ok(Some(Supervision::Label(class)))
            }
            (Objective::Regression, Truth::Value(value)) if value.is_finite() => {
                Ok(Some(Supervision::Value(value)))
            }
            (objective, truth) => Err(PolicyError::Refused {
                policy: PluginTypeConfig::TAG,
                problem: format!("{truth:?} is no truth of a task like {objective:?}"),
            }),
        }
    }
}
