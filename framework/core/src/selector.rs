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
/// Laws, held by `testkit`; the last four not against one that draws its rows anew each time:
///
/// * `it_can_be_used_with_twelve_layers`: `check` finds no fault with a model of 12 layers, however it pools.
/// * `layers_are_ascending_and_within_the_model`: of models of 1 to 24 layers at least one is tapped, and the
///   same whenever it is asked.
/// * `rows_are_made_of_their_own_tokens`: `rows` says how many there are, positions are ascending, padding is
///   never selected, layer and width stay.
/// * `what_does_not_fit_is_an_error`: lengths that are not those of the tap are refused.
/// * `batch_mates_change_nothing`: a sample's rows and positions are those that it has alone.
/// * `layers_share_a_layout`: all layers of a micro-batch have the same rows per sample, at the same
///   positions.
/// * `old_memory_and_strides_change_nothing`: a reused buffer, another order in memory: the same rows.
/// * `a_row_follows_the_token_at_its_position`: it changes with that token; a sample's only row may be of
///   several.
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
