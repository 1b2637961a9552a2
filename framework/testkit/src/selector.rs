//! Laws of the selector slot.
//!
//! [`selector_conformance!`](crate::selector_conformance) makes a test of each; [`conformance`] holds
//! them all at once:
//!
//! ```
//! mobillm_testkit::selector::conformance(&mobillm_selectors::AllConfig::default());
//! ```
//!
//! # Laws
//!
//! The last four are not held against a selector that draws its rows anew each time (`is_fixed`).
//!
//! * `it_can_be_used_with_twelve_layers`: `check` finds no fault with a model of 12 layers, however it pools.
//! * `layers_are_ascending_and_within_the_model`: of models of 1 to 24 layers at least one is tapped, and the
//!   same whenever it is asked.
//! * `rows_are_made_of_their_own_tokens`: `rows` says how many there are, positions are ascending, padding is
//!   never selected, layer and width stay.
//! * `what_does_not_fit_is_an_error`: lengths that are not those of the tap are refused.
//! * `batch_mates_change_nothing`: a sample's rows and positions are those that it has alone.
//! * `layers_share_a_layout`: all layers of a micro-batch have the same rows per sample, at the same
//!   positions.
//! * `old_memory_and_strides_change_nothing`: a reused buffer, another order in memory: the same rows.
//! * `a_row_follows_the_token_at_its_position`: it changes with that token; a sample's only row may be of
//!   several.

use mobillm_core::activations::Selected;
use mobillm_core::backbone::{BackboneInfo, Pooling, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::selector::{Selector, SelectorConfig};
use ndarray::{Array3, Axis, s};
use proptest::prelude::*;

use crate::law::{Law, hold_all};
use crate::runner;

/// Makes a module of tests, one for each law, of the selectors of a [`SelectorConfig`]. The module has
/// the name that is given, or `conformance`.
///
/// ```
/// use mobillm_selectors::AllConfig;
///
/// mobillm_testkit::selector_conformance!(AllConfig::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! selector_conformance {
    (@laws $then:ident $($given:tt)*) => {
        $crate::$then! {
            [
                it_can_be_used_with_twelve_layers
                layers_are_ascending_and_within_the_model
                rows_are_made_of_their_own_tokens
                what_does_not_fit_is_an_error
                batch_mates_change_nothing
                layers_share_a_layout
                old_memory_and_strides_change_nothing
                a_row_follows_the_token_at_its_position
            ]
            $($given)*
        }
    };
    ($module:ident, $config:expr $(,)?) => {
        $crate::selector_conformance! { @laws __law_tests $module, |name: &str| {
            $crate::law::hold(&$crate::selector::laws(&$config), name)
        } }
    };
    ($config:expr $(,)?) => {
        $crate::selector_conformance! { conformance, $config }
    };
}

/// Runs every law.
///
/// # Panics
/// With the law that `config` breaks.
pub fn conformance(config: &dyn SelectorConfig) {
    hold_all(&laws(config));
}

/// Every law, for the selectors of `config`, which must be of use with a model of 12 layers.
pub fn laws(config: &dyn SelectorConfig) -> Vec<Law<'_>> {
    suite(|info| match config.check(info) {
        findings if findings.is_empty() => Ok(config.build(info)),
        findings => Err(findings),
    })
}

/// A selector, or what is wrong with using it.
type Built = Result<Box<dyn Selector>, Vec<Diagnostic>>;

fn suite<'a>(build: impl Fn(&BackboneInfo) -> Built + Copy + 'a) -> Vec<Law<'a>> {
    let law = |name, holds: fn(&dyn Selector, &BackboneInfo)| {
        Law::new(name, move || {
            for pooling in [Pooling::FirstToken, Pooling::Mean, Pooling::LastToken] {
                let info = info(12, pooling);
                let selector = build(&info)
                    .unwrap_or_else(|findings| panic!("{findings:?} with a model of 12 layers"));
                holds(&*selector, &info);
            }
        })
    };
    // What is drawn anew each time cannot be compared with itself.
    let fixed = |law: Law<'a>| {
        law.unless(move || match build(&info(12, Pooling::Mean)) {
            Ok(selector) if !selector.is_fixed() => {
                Some("its rows are drawn anew each time".into())
            }
            _ => None,
        })
    };
    vec![
        law("it_can_be_used_with_twelve_layers", |_, _| ()),
        Law::new("layers_are_ascending_and_within_the_model", move || {
            for layers in 1..=24 {
                let info = info(layers, Pooling::Mean);
                if let Ok(selector) = build(&info) {
                    layers_are_ascending_and_within_the_model(&*selector, &info);
                }
            }
        }),
        law("rows_are_made_of_their_own_tokens", |selector, _| {
            runner::law(&batches(), |batch| rows_are_made_of_their_own_tokens(selector, &batch));
        }),
        law("what_does_not_fit_is_an_error", |selector, _| {
            runner::law(&batches(), |batch| what_does_not_fit_is_an_error(selector, &batch));
        }),
        fixed(law("batch_mates_change_nothing", |selector, _| {
            runner::law(&batches(), |batch| batch_mates_change_nothing(selector, &batch));
        })),
        fixed(law("layers_share_a_layout", |selector, info| {
            let layers = selector.layers(info);
            runner::law(&batches(), |batch| layers_share_a_layout(selector, &batch, &layers));
        })),
        fixed(law("old_memory_and_strides_change_nothing", |selector, _| {
            runner::law(&batches(), |batch| {
                old_memory_and_strides_change_nothing(selector, &batch)
            });
        })),
        fixed(law("a_row_follows_the_token_at_its_position", |selector, _| {
            runner::law(&batches(), |batch| {
                a_row_follows_the_token_at_its_position(selector, &batch);
            });
        })),
    ]
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
    assert_eq!(layers, selector.layers(info), "the layers stay the same");
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
mod mutants;
