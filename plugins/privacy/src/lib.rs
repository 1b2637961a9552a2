//! Privacy policies: what the server is told about a sample beside its activations.
//!
//! | tag | activations | supervision | answer | guarantee |
//! |---|---|---|---|---|
//! | `labels` | as they are | the label or target itself (MobiLLM) | the side network's | none |
//! | `labels` with `own_prediction` | as they are | the label and own logits | logits, own + side | none |
//! | `prediction-difference` | as they are | truth - own prediction (PAE MobiLLM) | probabilities, own + side | none |
//!
//! *Own* is the backbone's prediction, made on the device by its task head. A backbone without one
//! predicts the prior, the same for every sample: the classes' shares of the training rows with one
//! imagined row of every class (add-one smoothing), or the mean of their targets.
//!
//! A policy without a guarantee says so: the server learns the labels, whether they are sent or read
//! from a difference, and hidden states are close to text. Quantizing them hides nothing.
//!
//! # Example
//!
//! The backbone gives both classes one half, and the second is true. At first the side network says
//! nothing, and the answer is the backbone's own; once it has learned the difference, it is the truth.
//!
//! ```
//! use mobillm_core::privacy::{PrivacyPolicyConfig, Supervision, release_supervision};
//! use mobillm_core::registry::Plugin;
//! use mobillm_core::sample::{Objective, SampleId, Truth};
//! use mobillm_privacy::PredictionDifferenceConfig;
//!
//! let mut registry = mobillm_core::registry::Registry::new();
//! mobillm_privacy::register(&mut registry)?;
//!
//! let tag = PredictionDifferenceConfig::TAG;
//! let config: Box<dyn PrivacyPolicyConfig> =
//!     serde_json::from_str(r#"{ "type": "prediction-difference" }"#)?;
//! let mut policy = config.build(&Objective::Classification { classes: 2 });
//! let own = [0.0, 0.0];
//! let cleared =
//!     release_supervision(policy.as_mut(), tag, SampleId(7), Truth::Class(1), &own)?;
//! assert_eq!(cleared.supervision(), &Supervision::Difference(vec![-0.5, 0.5]));
//!
//! let mut side = [0.0, 0.0];
//! policy.combine(&own, &mut side)?;
//! assert_eq!(side, [0.5, 0.5]);
//! let mut side = [-0.5, 0.5];
//! policy.combine(&own, &mut side)?;
//! assert_eq!(side, [0.0, 1.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod labels;
mod own;
mod prediction_difference;
mod truth;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use labels::{Labels, LabelsConfig};
pub use prediction_difference::{PredictionDifference, PredictionDifferenceConfig};

/// Registers the policies of this crate.
///
/// # Errors
/// If one of their tags is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    let origin = env!("CARGO_PKG_NAME");
    registry.register::<LabelsConfig>(origin)?;
    registry.register::<PredictionDifferenceConfig>(origin)
}
