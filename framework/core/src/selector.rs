//! Which layers and tokens leave the backbone: padded taps in, ragged rows out.

use thiserror::Error;

use crate::BoxError;
use crate::activations::{Selected, ShapeError};
use crate::backbone::{BackboneInfo, Tap};
use crate::diagnostic::Diagnostic;

/// Why a selection is not possible.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// The rows do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The tap is not one that this selector can work on.
    #[error("layer {layer}: {problem}")]
    Tap {
        /// The tapped layer.
        layer: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A selector that was loaded failed.
    #[error(transparent)]
    Plugin(BoxError),
}

/// Chooses layers once, and rows for every tap.
///
/// What it promises beyond its types are the laws of `mobillm_testkit::selector`.
pub trait Selector: Send {
    /// The layers to tap, ascending: 0 is the embedding, `info.layers` the last layer's output.
    fn layers(&self, info: &BackboneInfo) -> Vec<usize>;

    /// How many rows a sample of `tokens` tokens sends per layer.
    fn rows(&self, tokens: usize) -> usize;

    /// Whether a sample's rows are the same whenever it goes forward. A selector that draws tokens anew
    /// is not fixed: its samples cannot be kept for later epochs.
    fn is_fixed(&self) -> bool {
        true
    }

    /// Takes the wanted rows out of `tap`. `memory` is an old buffer to be used again.
    ///
    /// # Errors
    /// If the tap's parts do not fit together.
    fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError>;
}

/// The config twin of [`Selector`].
#[typetag::serde(tag = "type")]
pub trait SelectorConfig: std::fmt::Debug + Send + Sync {
    /// Everything that is wrong with this config for a model like `info`. Pure.
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic>;

    /// The selector.
    fn build(&self, info: &BackboneInfo) -> Box<dyn Selector>;
}
