//! Privacy policies: what the server is told about a sample beside its activations.
//!
//! | tag | activations | supervision | guarantee |
//! |---|---|---|---|
//! | `labels` | as they are | the label or target itself (MobiLLM) | none |
//!
//! A policy without a guarantee says so: the server learns the labels, and hidden states are close to
//! text. Quantizing them hides nothing.
//!
//! # Example
//!
//! ```
//! use mobillm_core::privacy::{PrivacyPolicyConfig, Supervision, release_supervision};
//! use mobillm_core::sample::{Objective, SampleId, Truth};
//!
//! let mut registry = mobillm_core::registry::Registry::new();
//! mobillm_privacy::register(&mut registry)?;
//!
//! let config: Box<dyn PrivacyPolicyConfig> = serde_json::from_str(r#"{ "type": "labels" }"#)?;
//! let mut policy = config.build(&Objective::Classification { classes: 2 });
//! let cleared =
//!     release_supervision(policy.as_mut(), "labels", SampleId(7), Truth::Class(1), None)?;
//! assert_eq!(cleared.supervision(), &Supervision::Label(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod labels;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use labels::{Labels, LabelsConfig};

/// Registers the policies of this crate.
///
/// # Errors
/// If one of their tags is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<LabelsConfig>(env!("CARGO_PKG_NAME"))
}
