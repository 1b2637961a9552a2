//! Laws of [`Selector`] and its config twin.
//!
//! ```
//! mobillm_testkit::selector::conformance(&mobillm_selectors::AllConfig::default());
//! ```

use mobillm_core::activations::Selected;
use mobillm_core::backbone::{BackboneInfo, Pooling, Tap};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::selector::{Selector, SelectorConfig};
use ndarray::{Array3, Axis, s};
use proptest::prelude::*;

use crate::runner;

/// Runs every law.
///
/// # Panics
/// With the law that `config` breaks. Its `check` must have no findings for a model of 12 layers.
pub fn conformance(config: &dyn SelectorConfig) {
    let twelve = info(12);
    let findings = config.check(&twelve);
    assert!(findings.is_empty(), "it can be used with 12 layers: {findings:?}");
    for layers in 1..=24 {
        let info = info(layers);
        if config.check(&info).is_empty() {
            layers_are_ascending_and_within_the_model(config.build(&info).as_ref(), layers);
        }
    }
    let selector = config.build(&twelve);
    let selector = selector.as_ref();
    let layers = selector.layers(&twelve);
    assert_eq!(layers, selector.layers(&twelve), "the layers stay the same");
    law(|batch| rows_are_those_of_the_tap(selector, batch));
    law(|batch| batch_mates_change_nothing(selector, batch));
    law(|batch| layers_share_a_layout(selector, batch, &layers));
    law(|batch| old_memory_and_strides_change_nothing(selector, batch));
    law(|batch| what_does_not_fit_is_an_error(selector, batch));
}

/// A model of `layers` layers.
fn info(layers: usize) -> BackboneInfo {
    BackboneInfo {
        architecture: "testkit".into(),
        layers,
        hidden: 5,
        max_tokens: 16,
        vocabulary: 100,
        pooling: Pooling::Mean,
        own_outputs: None,
        bundle: Fingerprint::of(b"testkit"),
    }
}

/// A padded tap `[batch, tokens, hidden]`; what is padding is NaN.
#[derive(Debug, Clone)]
struct Batch {
    hidden: Array3<f32>,
    lengths: Vec<usize>,
}

impl Batch {
    fn new(lengths: Vec<usize>, padding: usize, hidden: usize) -> Self {
        let tokens = lengths.iter().max().copied().unwrap_or(0) + padding;
        let values =
            Array3::from_shape_fn((lengths.len(), tokens, hidden), |(sample, token, channel)| {
                match token < lengths[sample] {
                    true => (sample * 10_000 + token * 100 + channel) as f32,
                    false => f32::NAN,
                }
            });
        Self { hidden: values, lengths }
    }

    fn tap(&self, layer: usize) -> Tap<'_> {
        Tap { layer, hidden: self.hidden.view(), lengths: &self.lengths }
    }
}

fn batches() -> impl Strategy<Value = Batch> {
    (prop::collection::vec(0usize..9, 1..6), 0usize..3, 1usize..7)
        .prop_map(|(lengths, padding, hidden)| Batch::new(lengths, padding, hidden))
}

fn law(holds: impl Fn(&Batch)) {
    runner::law(&batches(), |batch| holds(&batch));
}

fn select(selector: &dyn Selector, tap: &Tap<'_>) -> Selected {
    match selector.select(tap, Vec::new()) {
        Ok(selected) => selected,
        Err(error) => panic!("a sound tap is selected from: {error}"),
    }
}

fn layers_are_ascending_and_within_the_model(selector: &dyn Selector, of: usize) {
    let layers = selector.layers(&info(of));
    assert!(!layers.is_empty(), "of {of} layers at least one is tapped");
    assert!(layers.is_sorted_by(|a, b| a < b), "layers are ascending: {layers:?}");
    assert!(layers.iter().all(|layer| *layer <= of), "layers are within 0..={of}: {layers:?}");
}

fn rows_are_those_of_the_tap(selector: &dyn Selector, batch: &Batch) {
    let selected = select(selector, &batch.tap(3));
    assert_eq!(selected.layer(), 3, "the layer is kept");
    assert_eq!(selected.rows().ncols(), batch.hidden.dim().2, "the width is kept");
    let layout = selected.layout();
    assert_eq!(layout.samples(), batch.lengths.len(), "every sample is in the layout");
    for (sample, &length) in batch.lengths.iter().enumerate() {
        let positions = layout.positions(sample);
        assert_eq!(positions.len(), selector.rows(length), "`rows` tells how many rows there are");
        assert!(positions.is_sorted_by(|a, b| a < b), "positions are ascending: {positions:?}");
        for (row, &position) in layout.range(sample).zip(positions) {
            assert!((position as usize) < length, "padding is never selected");
            let expected = batch.hidden.slice(s![sample, position as usize, ..]);
            assert_eq!(selected.rows().row(row), expected, "a row is the tap's at its position");
        }
    }
}

fn batch_mates_change_nothing(selector: &dyn Selector, batch: &Batch) {
    let together = select(selector, &batch.tap(1));
    for (sample, &length) in batch.lengths.iter().enumerate() {
        // Alone, and so with its own padding.
        let hidden = batch.hidden.slice(s![sample..=sample, ..length, ..]).to_owned();
        let alone = Batch { hidden, lengths: vec![length] };
        let alone = select(selector, &alone.tap(1));
        let rows = together.rows();
        let of_sample = rows.slice(s![together.layout().range(sample), ..]);
        assert_eq!(of_sample, alone.rows(), "a sample's rows do not depend on its batch mates");
        assert_eq!(together.layout().positions(sample), alone.layout().positions(0));
    }
}

fn layers_share_a_layout(selector: &dyn Selector, batch: &Batch, layers: &[usize]) {
    let first = select(selector, &batch.tap(layers[0]));
    for &layer in layers {
        let mut other = batch.clone();
        other.hidden.mapv_inplace(|value| value * -0.5);
        let other = select(selector, &other.tap(layer));
        assert_eq!(other.layout(), first.layout(), "all layers of a micro-batch share a layout");
    }
}

fn old_memory_and_strides_change_nothing(selector: &dyn Selector, batch: &Batch) {
    let expected = select(selector, &batch.tap(2));
    let reused = selector.select(&batch.tap(2), vec![7.0; 1000]);
    assert!(reused.is_ok_and(|reused| reused == expected), "old memory changes nothing");

    let mut strided = batch.hidden.clone();
    strided.swap_axes(0, 1);
    let mut strided = strided.as_standard_layout().into_owned();
    strided.swap_axes(0, 1);
    let tap = Tap { layer: 2, hidden: strided.view(), lengths: &batch.lengths };
    assert_eq!(select(selector, &tap), expected, "the order in memory changes nothing");
    strided.invert_axis(Axis(2));
    let mirrored = strided.as_standard_layout().into_owned();
    let tap = |hidden| Tap { layer: 2, hidden, lengths: &batch.lengths };
    let (strided, mirrored) = (tap(strided.view()), tap(mirrored.view()));
    assert_eq!(select(selector, &strided), select(selector, &mirrored), "nor do its strides");
}

fn what_does_not_fit_is_an_error(selector: &dyn Selector, batch: &Batch) {
    let mut too_long = batch.clone();
    too_long.lengths[0] = batch.hidden.dim().1 + 1;
    let mut too_many = batch.clone();
    too_many.lengths.push(0);
    for wrong in [too_long, too_many] {
        let result = selector.select(&wrong.tap(1), Vec::new());
        assert!(result.is_err(), "lengths {:?} of {:?}", wrong.lengths, batch.hidden.dim());
    }
}

#[cfg(test)]
mod tests {
    use mobillm_core::activations::Layout;
    use mobillm_core::selector::SelectorError;

    use super::*;

    /// Breaks one law at a time.
    struct Broken(&'static str);

    impl Selector for Broken {
        fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
            match self.0 {
                "none" => Vec::new(),
                "descending" => vec![info.layers, info.layers - 1],
                "beyond" => vec![info.layers + 1],
                _ => vec![info.layers],
            }
        }

        fn rows(&self, tokens: usize) -> usize {
            if self.0 == "count" { tokens + 1 } else { tokens }
        }

        fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError> {
            let (batch, tokens, hidden) = tap.hidden.dim();
            let longest = tap.lengths.iter().max().copied().unwrap_or(0);
            if self.0 != "unchecked" && (batch != tap.lengths.len() || longest > tokens) {
                return Err(SelectorError::Tap { layer: tap.layer, problem: "it differs".into() });
            }
            let mut values = if self.0 == "memory" { memory } else { Vec::new() };
            let mut layout = Layout::empty();
            for (sample, &length) in tap.lengths.iter().enumerate().take(batch) {
                let length = match self.0 {
                    "padding" => tokens,
                    "mates" => longest.min(length + batch - 1).min(tokens),
                    _ => length.min(tokens),
                };
                layout.push(0..length as u32);
                values.extend(tap.hidden.slice(s![sample, ..length, ..]));
            }
            Ok(Selected::new(tap.layer, layout, hidden, values)?)
        }
    }

    fn all_laws(broken: &'static str) {
        let selector = Broken(broken);
        layers_are_ascending_and_within_the_model(&selector, 6);
        law(|batch| rows_are_those_of_the_tap(&selector, batch));
        law(|batch| batch_mates_change_nothing(&selector, batch));
        law(|batch| old_memory_and_strides_change_nothing(&selector, batch));
        law(|batch| what_does_not_fit_is_an_error(&selector, batch));
    }

    #[test]
    fn a_sound_selector_passes_and_each_break_is_caught() {
        all_laws("nothing");
        for broken in
            ["none", "descending", "beyond", "count", "memory", "unchecked", "padding", "mates"]
        {
            let caught = std::panic::catch_unwind(|| all_laws(broken));
            assert!(caught.is_err(), "`{broken}` is not caught");
        }
    }
}
