//! What every selector starts from: a padded tap, sample by sample.

use mobillm_core::backbone::Tap;
use mobillm_core::selector::SelectorError;
use ndarray::{ArrayView, ArrayView2, Axis, Dimension, Slice};

/// The tokens of each sample, `[tokens, hidden]`, padding left out.
///
/// # Errors
/// If the tap's lengths are not those of its samples.
pub(crate) fn samples<'a>(
    tap: &'a Tap<'_>,
) -> Result<impl Iterator<Item = ArrayView2<'a, f32>>, SelectorError> {
    let (batch, tokens, _) = tap.hidden.dim();
    let problem = |problem| SelectorError::Tap { layer: tap.layer, problem };
    if tap.lengths.len() != batch {
        let lengths = tap.lengths.len();
        return Err(problem(format!("expected the lengths of {batch} samples, got {lengths}")));
    }
    if let Some(length) = tap.lengths.iter().find(|length| **length > tokens) {
        let message = format!("expected samples of at most {tokens} tokens, got one of {length}");
        return Err(problem(message));
    }
    let samples = tap.hidden.outer_iter().zip(tap.lengths);
    Ok(samples.map(|(sample, &length)| sample.slice_axis_move(Axis(0), Slice::from(..length))))
}

/// Appends `values`, in the order of their indices whatever their order in memory.
pub(crate) fn append<D: Dimension>(memory: &mut Vec<f32>, values: ArrayView<'_, f32, D>) {
    match values.as_slice() {
        Some(values) => memory.extend_from_slice(values),
        None => memory.extend(&values),
    }
}
