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
    for pooling in [Pooling::FirstToken, Pooling::Mean, Pooling::LastToken] {
        let twelve = info(12, pooling);
        let findings = config.check(&twelve);
        assert!(findings.is_empty(), "it can be used with 12 layers: {findings:?}");
        for layers in 1..=24 {
            let info = info(layers, pooling);
            if config.check(&info).is_empty() {
                layers_are_ascending_and_within_the_model(config.build(&info).as_ref(), &info);
            }
        }
        laws(config.build(&twelve).as_ref(), &twelve);
    }
}

fn laws(selector: &dyn Selector, info: &BackboneInfo) {
    layers_are_ascending_and_within_the_model(selector, info);
    let layers = selector.layers(info);
    assert_eq!(layers, selector.layers(info), "the layers stay the same");
    let law = |holds: &dyn Fn(&Batch)| runner::law(&batches(), |batch| holds(&batch));
    law(&|batch| rows_are_made_of_their_own_tokens(selector, batch));
    law(&|batch| what_does_not_fit_is_an_error(selector, batch));
    if !selector.is_fixed() {
        // What is drawn anew each time cannot be compared with itself.
        return;
    }
    law(&|batch| batch_mates_change_nothing(selector, batch));
    law(&|batch| layers_share_a_layout(selector, batch, &layers));
    law(&|batch| old_memory_and_strides_change_nothing(selector, batch));
    law(&|batch| a_row_follows_the_token_at_its_position(selector, batch));
}

/// A model of `layers` layers.
fn info(layers: usize, pooling: Pooling) -> BackboneInfo {
    BackboneInfo {
        architecture: "testkit".into(),
        layers,
        hidden: 5,
        max_tokens: 16,
        vocabulary: 100,
        pooling,
        own_outputs: None,
        language_head: false,
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

fn select(selector: &dyn Selector, tap: &Tap<'_>) -> Selected {
    match selector.select(tap, Vec::new()) {
        Ok(selected) => selected,
        Err(error) => panic!("a sound tap is selected from: {error}"),
    }
}

fn layers_are_ascending_and_within_the_model(selector: &dyn Selector, info: &BackboneInfo) {
    let layers = selector.layers(info);
    let of = info.layers;
    assert!(!layers.is_empty(), "of {of} layers at least one is tapped");
    assert!(layers.is_sorted_by(|a, b| a < b), "layers are ascending: {layers:?}");
    assert!(layers.iter().all(|layer| *layer <= of), "layers are within 0..={of}: {layers:?}");
}

/// A row may be a token's or come from several, as a mean does; and a NaN lies among no numbers.
fn rows_are_made_of_their_own_tokens(selector: &dyn Selector, batch: &Batch) {
    let selected = select(selector, &batch.tap(3));
    assert_eq!(selected.layer(), 3, "the layer is kept");
    assert_eq!(selected.rows().ncols(), batch.hidden.dim().2, "the width is kept");
    let layout = selected.layout();
    assert_eq!(layout.samples(), batch.lengths.len(), "every sample is in the layout");
    for (sample, &length) in batch.lengths.iter().enumerate() {
        let positions = layout.positions(sample);
        assert_eq!(positions.len(), selector.rows(length), "`rows` tells how many rows there are");
        assert!(positions.is_sorted_by(|a, b| a < b), "positions are ascending: {positions:?}");
        let tokens = batch.hidden.slice(s![sample, ..length, ..]);
        for (row, &position) in layout.range(sample).zip(positions) {
            let position = position as usize;
            assert!(position < length, "padding is never selected");
            let rows = selected.rows();
            for (value, tokens) in rows.row(row).iter().zip(tokens.columns()) {
                let lies_among_them = tokens.iter().any(|token| token <= value)
                    && tokens.iter().any(|token| token >= value);
                assert!(lies_among_them, "a row lies among the tokens of its sample");
            }
            if positions.len() == length {
                let law = "where every token has a row, it is the tap's at its position";
                assert_eq!(rows.row(row), tokens.row(position), "{law}");
            }
        }
    }
}

/// A sample's only row may say 0 whatever it was made of: which token that was can stay on the device.
fn a_row_follows_the_token_at_its_position(selector: &dyn Selector, batch: &Batch) {
    let before = select(selector, &batch.tap(3));
    let layout = before.layout();
    for (sample, &length) in batch.lengths.iter().enumerate() {
        let positions = layout.positions(sample);
        for (row, &position) in layout.range(sample).zip(positions) {
            let follows = |token: usize| {
                let mut changed = batch.clone();
                let mut token = changed.hidden.slice_mut(s![sample, token, ..]);
                token.mapv_inplace(|value| value + 64.0);
                let after = select(selector, &changed.tap(3));
                after.rows().row(row) != before.rows().row(row)
            };
            match positions {
                [0] => assert!((0..length).any(follows), "a lone row follows one of its tokens"),
                _ => assert!(follows(position as usize), "a row follows the token at its position"),
            }
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
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mobillm_core::activations::Layout;
    use mobillm_core::selector::SelectorError;
    use ndarray::ArrayView2;

    use super::*;

    /// A selector of all tokens, or of one row a sample, that breaks one law at a time.
    struct Toy(&'static str);

    /// Counts the draws of toys that draw their token anew.
    static DRAWS: AtomicUsize = AtomicUsize::new(0);

    impl Toy {
        /// The positions of a sample of `tokens` tokens.
        fn positions(&self, tokens: usize) -> std::ops::Range<usize> {
            match self.0 {
                "drawn" | "drawn in secret" if tokens > 0 => {
                    let drawn = DRAWS.fetch_add(1, Ordering::Relaxed) % tokens;
                    drawn..drawn + 1
                }
                "last" | "off by one" => tokens.saturating_sub(1)..tokens,
                "mean" | "sum" | "mean over padding" | "last in secret" | "coarse" => {
                    0..tokens.min(1)
                }
                _ => 0..tokens,
            }
        }

        fn row(&self, tokens: ArrayView2<'_, f32>, position: usize, length: usize) -> Vec<f32> {
            let own = tokens.slice(s![..length, ..]);
            let mean = |of: ArrayView2<'_, f32>| {
                of.columns()
                    .into_iter()
                    .map(|channel| channel.sum() / channel.len() as f32)
                    .collect()
            };
            match self.0 {
                "mean" => mean(own),
                "mean over padding" => mean(tokens),
                "sum" => own.columns().into_iter().map(|channel| channel.sum()).collect(),
                "blend" => mean(own.slice(s![position.saturating_sub(1)..=position, ..])),
                "off by one" => tokens.row(position.saturating_sub(1)).to_vec(),
                "last in secret" => tokens.row(length - 1).to_vec(),
                // Lies between the first two tokens, and stays there when one of them moves.
                "coarse" if length > 1 => tokens
                    .row(position)
                    .mapv(|value| (value / 100.0).floor() * 100.0 + 50.0)
                    .to_vec(),
                _ => tokens.row(position).to_vec(),
            }
        }
    }

    impl Selector for Toy {
        fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
            match self.0 {
                "none" => Vec::new(),
                "descending" => vec![info.layers, info.layers - 1],
                "beyond" => vec![info.layers + 1],
                _ => vec![info.layers],
            }
        }

        fn is_fixed(&self) -> bool {
            self.0 != "drawn"
        }

        fn rows(&self, tokens: usize) -> usize {
            if self.0 == "count" { tokens + 1 } else { self.positions(tokens).len() }
        }

        fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError> {
            let (batch, tokens, hidden) = tap.hidden.dim();
            let longest = tap.lengths.iter().max().copied().unwrap_or(0);
            if self.0 != "unchecked" && (batch != tap.lengths.len() || longest > tokens) {
                return Err(SelectorError::Tap { layer: tap.layer, problem: "it differs".into() });
            }
            let mut values = if self.0 == "memory" { memory } else { Vec::new() };
            let mut layout = Layout::empty();
            for (sample, &length) in tap.hidden.outer_iter().zip(tap.lengths) {
                let length = match self.0 {
                    "padding" => tokens,
                    "mates" => longest.min(length + batch - 1).min(tokens),
                    _ => length.min(tokens),
                };
                let positions = self.positions(length);
                layout.push(positions.clone().map(|position| position as u32));
                positions.for_each(|position| values.extend(self.row(sample, position, length)));
            }
            Ok(Selected::new(tap.layer, layout, hidden, values)?)
        }
    }

    fn all_laws(toy: &'static str) {
        laws(&Toy(toy), &info(6, Pooling::Mean));
    }

    #[test]
    fn sound_selectors_pass() {
        ["all", "last", "last in secret", "mean", "drawn"].into_iter().for_each(all_laws);
    }

    #[test]
    fn each_fault_breaks_its_law() {
        for (fault, law) in [
            ("none", "at least one"),
            ("descending", "layers are ascending"),
            ("beyond", "within"),
            ("count", "how many rows"),
            ("padding", "how many rows"),
            ("mates", "how many rows"),
            ("sum", "lies among the tokens"),
            ("mean over padding", "lies among the tokens"),
            ("blend", "where every token has a row"),
            ("off by one", "follows the token at its position"),
            ("coarse", "follows one of its tokens"),
            ("drawn in secret", "batch mates"),
            ("memory", "old memory"),
            ("unchecked", "lengths"),
        ] {
            let panic = catch_unwind(|| all_laws(fault)).expect_err(fault);
            let message = match panic.downcast_ref::<&str>() {
                Some(message) => message,
                None => panic.downcast_ref::<String>().unwrap().as_str(),
            };
            assert!(message.contains(law), "{fault}: {law:?} is not in: {message}");
        }
    }
}
