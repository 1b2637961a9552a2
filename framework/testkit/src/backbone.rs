//! Laws of the backbone slot.
//!
//! [`backbone_conformance!`](crate::backbone_conformance) makes a test of each; [`conformance`] holds
//! them all at once.
//!
//! # Laws
//!
//! * `shapes_equal_info`: samples of 1 to `max_tokens` tokens are taken; a tap is `[batch, tokens, hidden]`,
//!   finite, with the samples' lengths.
//! * `exactly_the_asked_layers_arrive`: ascending; neither they nor the own prediction depend on which others
//!   are asked for.
//! * `a_tap_arrives_before_the_next_layer_runs`: tap 0 comes long before the last: the device never holds
//!   them all.
//! * `equal_input_gives_equal_taps`: to the bit, in one instance and in two.
//! * `batch_mates_do_not_matter`: a sample alone gives what it gives among others, but for rounding.
//! * `bad_batches_are_refused`: no samples, no tokens, a token outside the vocabulary, too many tokens: an
//!   error that names the sample, and the next run is as before.
//! * `the_sinks_error_ends_the_run`: no tap follows, the error names the layer and keeps the cause, and the
//!   next run is as before.
//! * `the_sinks_panic_unwinds_to_the_caller`: and the next run is as before.
//! * `a_sink_may_run_a_backbone`: another instance, while this one is at work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mobillm_core::backbone::{
    Backbone, BackboneError, BackboneInfo, ForwardContext, OwnPrediction, Tap, TokenBatch, Tokens,
};
use ndarray::{Array, Array2, Array3, Axis, Dimension, concatenate, s};

use crate::law::{Law, hold_all};

/// How far two ways to compute the same hidden state may lie apart, relative to its norm.
const TOLERANCE: f32 = 1e-4;

/// Makes a backbone of one model for the layers to be tapped, ascending.
pub type Build<'a> = &'a dyn Fn(&[usize]) -> Box<dyn Backbone>;

/// Makes a module of tests, one for each law, of what a closure makes: of the layers to be tapped
/// (`&[usize]`) a boxed [`Backbone`] of one model, which needs at least one layer, room for four tokens and
/// a vocabulary of two. The module has the name that is given, or `conformance`.
///
/// ```
/// use mobillm_core::backbone::Pooling;
/// use mobillm_testkit::fakes::{FakeBackbone, FakeBackboneConfig};
///
/// fn model() -> FakeBackboneConfig {
///     let (own_outputs, nan_layer, layer_milliseconds) = (Some(2), None, 1);
///     let pooling = Pooling::Mean;
///     FakeBackboneConfig { layers: 2, hidden: 8, own_outputs, pooling, nan_layer, layer_milliseconds }
/// }
///
/// mobillm_testkit::backbone_conformance!(|taps| {
///     Box::new(FakeBackbone::new(model(), taps.to_vec()))
/// });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! backbone_conformance {
    (@laws $then:ident $($given:tt)*) => {
        $crate::$then! {
            [
                shapes_equal_info
                exactly_the_asked_layers_arrive
                a_tap_arrives_before_the_next_layer_runs
                equal_input_gives_equal_taps
                batch_mates_do_not_matter
                bad_batches_are_refused
                the_sinks_error_ends_the_run
                the_sinks_panic_unwinds_to_the_caller
                a_sink_may_run_a_backbone
            ]
            $($given)*
        }
    };
    ($module:ident, $build:expr $(,)?) => {
        $crate::backbone_conformance! { @laws __law_tests $module, |name: &str| {
            $crate::law::hold(&$crate::backbone::laws($build), name)
        } }
    };
    ($build:expr $(,)?) => {
        $crate::backbone_conformance! { conformance, $build }
    };
}

/// Runs every law against backbones of one model that `build` makes for the layers to be tapped.
///
/// The model needs at least one layer, room for four tokens and a vocabulary of two.
///
/// # Panics
/// If a law is broken.
pub fn conformance(build: Build<'_>) {
    hold_all(&laws(build));
}

/// Every law, for backbones like those of [`conformance`].
pub fn laws<'a>(build: impl Fn(&[usize]) -> Box<dyn Backbone> + Copy + 'a) -> Vec<Law<'a>> {
    let law = |name, holds: fn(Build<'_>, &BackboneInfo)| {
        Law::new(name, move || {
            let info = build(&[0]).info().clone();
            holds(&build, &info);
        })
    };
    vec![
        law("shapes_equal_info", shapes_equal_info),
        law("exactly_the_asked_layers_arrive", exactly_the_asked_layers_arrive),
        law("a_tap_arrives_before_the_next_layer_runs", a_tap_arrives_before_the_next_layer_runs),
        law("equal_input_gives_equal_taps", equal_input_gives_equal_taps),
        law("batch_mates_do_not_matter", batch_mates_do_not_matter),
        law("bad_batches_are_refused", bad_batches_are_refused),
        law("the_sinks_error_ends_the_run", the_sinks_error_ends_the_run),
        law("the_sinks_panic_unwinds_to_the_caller", the_sinks_panic_unwinds_to_the_caller),
        law("a_sink_may_run_a_backbone", a_sink_may_run_a_backbone),
    ]
}

/// A tap with its hidden state `[batch, tokens, hidden]`, kept after the run. What stands in padding
/// has no meaning; here it is zero.
type Kept = (usize, Array3<f32>);

/// All that comes out of a run.
#[derive(PartialEq)]
struct Passed {
    taps: Vec<Kept>,
    own: OwnPrediction,
}

fn forward(backbone: &mut dyn Backbone, batch: &TokenBatch) -> Passed {
    forward_while(backbone, batch, || ())
}

/// Calls `work` at each tap.
fn forward_while(
    backbone: &mut dyn Backbone,
    batch: &TokenBatch,
    mut work: impl FnMut(),
) -> Passed {
    let mut taps = Vec::new();
    let own = run(backbone, batch, |tap| {
        work();
        let mut hidden = tap.hidden.to_owned();
        for (row, &length) in tap.lengths.iter().enumerate() {
            hidden.slice_mut(s![row, length.., ..]).fill(0.0);
        }
        taps.push((tap.layer, hidden));
    });
    let own = own.unwrap_or_else(|error| panic!("a batch within the limits is taken: {error}"));
    let outputs = own.as_ref().map(Array2::dim);
    let expected = backbone.info().own_outputs.map(|outputs| (batch.samples(), outputs));
    assert_eq!(outputs, expected, "the own prediction is [batch, own_outputs], if there is one");
    let is_finite = own.iter().flatten().all(|logit| logit.is_finite());
    assert!(is_finite, "the own prediction is finite");
    Passed { taps, own }
}

fn run(
    backbone: &mut dyn Backbone,
    batch: &TokenBatch,
    mut keep: impl FnMut(Tap<'_>),
) -> Result<OwnPrediction, BackboneError> {
    let mut sink = |tap: Tap<'_>| {
        keep(tap);
        Ok(())
    };
    backbone.forward(batch, &ForwardContext::default(), &mut sink)
}

/// A sample of `length` tokens; `seed` tells them apart.
fn sample(info: &BackboneInfo, length: usize, seed: usize) -> Tokens {
    let id = |at: usize| ((at * 7 + seed * 13 + 1) * 2_654_435_761 % info.vocabulary) as u32;
    Tokens { ids: (0..length).map(id).collect(), segments: vec![0; length] }
}

fn batch(samples: &[Tokens]) -> TokenBatch {
    TokenBatch::new(samples, 0)
}

/// Samples of one token, of half and of all that the model takes, and some between.
fn ragged(info: &BackboneInfo) -> Vec<Tokens> {
    let most = info.max_tokens.min(64);
    [most / 2, 1, most, 3, 2].iter().zip(0..).map(|(&length, i)| sample(info, length, i)).collect()
}

fn all_layers(info: &BackboneInfo) -> Vec<usize> {
    (0..=info.layers).collect()
}

fn exactly_the_asked_layers_arrive(build: Build<'_>, info: &BackboneInfo) {
    let all = all_layers(info);
    let every_second: Vec<usize> = all.iter().copied().step_by(2).collect();
    let batch = batch(&ragged(info));
    let complete = forward(&mut *build(&all), &batch);
    // Without any there is the own prediction, or nothing to do.
    let none = info.own_outputs.map(|_| &[][..]);
    for asked in [&all[..], &every_second, &[0], &[info.layers]].into_iter().chain(none) {
        let mut backbone = build(asked);
        assert_eq!(backbone.taps(), asked, "`taps` tells the layers that were asked for");
        let passed = forward(&mut *backbone, &batch);
        let arrived: Vec<usize> = passed.taps.iter().map(|(layer, _)| *layer).collect();
        assert_eq!(arrived, asked, "exactly the asked layers arrive, ascending");
        for (layer, hidden) in &passed.taps {
            let law = "a layer's hidden state does not depend on which layers are tapped";
            assert_close(hidden, &complete.taps[*layer].1, law);
        }
        if let (Some(own), Some(expected)) = (&passed.own, &complete.own) {
            let law = "the own prediction does not depend on which layers are tapped";
            assert_close(own, expected, law);
        }
    }
}

fn shapes_equal_info(build: Build<'_>, info: &BackboneInfo) {
    let samples = ragged(info);
    let batch = batch(&samples);
    let lengths: Vec<usize> = samples.iter().map(|tokens| tokens.ids.len()).collect();
    let shape = (lengths.len(), lengths.iter().copied().max().unwrap_or(0), info.hidden);
    let result = run(&mut *build(&all_layers(info)), &batch, |tap| {
        assert_eq!(tap.hidden.dim(), shape, "a tap is [batch, tokens, hidden]");
        assert_eq!(tap.lengths, lengths, "a tap tells the samples' lengths");
        for (sample, &length) in lengths.iter().enumerate() {
            let tokens = tap.hidden.slice(s![sample, ..length, ..]);
            assert!(tokens.iter().all(|value| value.is_finite()), "hidden states are finite");
        }
    });
    assert!(result.is_ok(), "samples of 1 to max_tokens tokens are taken");
}

/// What a backbone shows from outside: the embedding must arrive long before the last layer. One
/// that hands out all taps after the last layer has the first and the last arrive together.
fn a_tap_arrives_before_the_next_layer_runs(build: Build<'_>, info: &BackboneInfo) {
    let mut backbone = build(&[0, info.layers]);
    let length = info.max_tokens.min(64);
    let samples: Vec<Tokens> = (0..64).map(|seed| sample(info, length, seed)).collect();
    let batch = batch(&samples);
    // The machine may be busy with something else in between, which moves a share either way: the
    // middle one of many is what the backbone itself does.
    let share_of_first = |_| {
        let start = Instant::now();
        let mut arrivals: Vec<Duration> = Vec::new();
        run(&mut *backbone, &batch, |_| arrivals.push(start.elapsed()))
            .unwrap_or_else(|error| panic!("a batch within the limits is taken: {error}"));
        arrivals[0].as_secs_f64() / arrivals[1].as_secs_f64()
    };
    let mut shares: Vec<f64> = (0..31).map(share_of_first).collect();
    shares.sort_by(f64::total_cmp);
    let middle = shares[shares.len() / 2];
    assert!(
        middle < 0.6,
        "tap 0 arrives before layer 1 runs: it came after {:.0}% of the time to the last tap",
        middle * 100.0
    );
}

fn equal_input_gives_equal_taps(build: Build<'_>, info: &BackboneInfo) {
    let mut backbone = build(&all_layers(info));
    let batch = batch(&ragged(info));
    let first = forward(&mut *backbone, &batch);
    let again = forward(&mut *backbone, &batch);
    let other = forward(&mut *build(&all_layers(info)), &batch);
    assert!(first == again, "equal input gives equal bits");
    assert!(first == other, "equal input gives equal bits in another instance");
}

fn batch_mates_do_not_matter(build: Build<'_>, info: &BackboneInfo) {
    let mut backbone = build(&all_layers(info));
    let samples = ragged(info);
    let together = forward(&mut *backbone, &batch(&samples));
    let mut own_alone = Vec::new();
    for (row, tokens) in samples.iter().enumerate() {
        let alone = forward(&mut *backbone, &batch(std::slice::from_ref(tokens)));
        for ((_, together), (_, alone)) in together.taps.iter().zip(&alone.taps) {
            let mine = together.slice(s![row..=row, ..tokens.ids.len(), ..]).to_owned();
            assert_close(&mine, alone, "a sample's taps do not depend on its batch mates");
        }
        own_alone.extend(alone.own);
    }
    if let Some(together) = &together.own {
        let alone: Vec<_> = own_alone.iter().map(|own| own.view()).collect();
        let alone = concatenate(Axis(0), &alone)
            .unwrap_or_else(|error| unreachable!("`forward` has checked the shapes: {error}"));
        assert_close(together, &alone, "an own prediction does not depend on batch mates");
    }
}

fn bad_batches_are_refused(build: Build<'_>, info: &BackboneInfo) {
    let mut backbone = build(&[info.layers]);
    let good = sample(info, 3, 0);
    let mut outside = sample(info, 3, 1);
    outside.ids[1] = info.vocabulary as u32;
    let bad = [
        ("an empty batch", 0, vec![]),
        ("a sample without tokens", 1, vec![good.clone(), Tokens::default()]),
        ("a token outside the vocabulary", 1, vec![good.clone(), outside]),
        ("a sample that is too long", 0, vec![sample(info, info.max_tokens + 1, 2), good.clone()]),
    ];
    let before = forward(&mut *backbone, &batch(std::slice::from_ref(&good)));
    for (what, expected, samples) in bad {
        match run(&mut *backbone, &batch(&samples), |_| panic!("{what} makes no taps")) {
            Err(BackboneError::Batch { sample, .. }) => {
                assert_eq!(sample, expected, "the error names the sample: {what}");
            }
            other => panic!("{what} is BackboneError::Batch, got {other:?}"),
        }
    }
    let after = forward(&mut *backbone, &batch(&[good]));
    assert!(before == after, "a refused batch leaves the backbone as it was");
}

fn the_sinks_error_ends_the_run(build: Build<'_>, info: &BackboneInfo) {
    let mut backbone = build(&all_layers(info));
    let batch = batch(&ragged(info));
    let before = forward(&mut *backbone, &batch);
    for refused in all_layers(info) {
        let mut last = None;
        let mut sink = |tap: Tap<'_>| {
            last = Some(tap.layer);
            if tap.layer == refused { Err("the disk is full".into()) } else { Ok(()) }
        };
        match backbone.forward(&batch, &ForwardContext::default(), &mut sink) {
            Err(BackboneError::Sink { layer, source }) => {
                assert_eq!(layer, refused, "the error names the layer");
                assert_eq!(source.to_string(), "the disk is full", "the sink's error is kept");
            }
            other => panic!("a sink's error is BackboneError::Sink, got {other:?}"),
        }
        assert_eq!(last, Some(refused), "no tap comes after one that was refused");
    }
    assert!(before == forward(&mut *backbone, &batch), "the next run is not affected");
}

fn the_sinks_panic_unwinds_to_the_caller(build: Build<'_>, info: &BackboneInfo) {
    let mut backbone = build(&all_layers(info));
    let batch = batch(&ragged(info));
    let before = forward(&mut *backbone, &batch);
    // Unlike `panic!`, this does not print.
    let mut sink = |_: Tap<'_>| std::panic::resume_unwind(Box::new("from the sink"));
    let caught = catch_unwind(AssertUnwindSafe(|| {
        backbone.forward(&batch, &ForwardContext::default(), &mut sink)
    }));
    let panic = caught.err();
    let message = panic.as_ref().and_then(|panic| panic.downcast_ref::<&str>());
    assert_eq!(message, Some(&"from the sink"), "a panic in the sink unwinds to the caller");
    assert!(before == forward(&mut *backbone, &batch), "the next run is not affected");
}

fn a_sink_may_run_a_backbone(build: Build<'_>, info: &BackboneInfo) {
    let (mut outer, mut inner) = (build(&all_layers(info)), build(&[info.layers]));
    let batch = batch(&ragged(info));
    let before = forward(&mut *outer, &batch);
    let after = forward_while(&mut *outer, &batch, || {
        let within = run(&mut *inner, &batch, |_| ());
        assert!(within.is_ok(), "a sink may run a backbone, got {within:?}");
    });
    assert!(before == after, "a run is not affected by those that its sink makes");
}

fn assert_close<D: Dimension>(left: &Array<f32, D>, right: &Array<f32, D>, law: &str) {
    assert_eq!(left.shape(), right.shape(), "{law}");
    let norm = right.iter().map(|value| value * value).sum::<f32>().sqrt();
    let distance = (left - right).iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!(distance <= TOLERANCE * norm, "{law}: off by {:.1e}", distance / norm);
}

#[cfg(test)]
mod mutants;
