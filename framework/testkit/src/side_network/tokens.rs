//! What a sample's answer depends on: its own rows, and of these all or those that are pooled.

use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::backbone::Pooling;
use mobillm_core::side_network::SideNetworkConfig;
use ndarray::s;

use super::{OBJECTIVES, Task, Toy, build, supervision, train};

/// How far two ways to compute the same outputs may lie apart, relative to the largest.
const TOLERANCE: f32 = 1e-4;

/// A sample's answer does not depend on its batch mates, but for rounding.
pub(super) fn batch_mates_do_not_matter(config: &dyn SideNetworkConfig, task: Task) {
    let mut toy = Toy::new(task, 20);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 20);
    let (batch, _) = toy.batch();
    let together = network.predict(&batch).expect("the toy's batches fit");
    let largest = together.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for sample in 0..batch.layout().samples() {
        let alone = network.predict(&only(&batch, sample)).expect("one sample is a batch");
        let distance = &alone.row(0) - &together.slice(s![sample, ..]);
        let off = distance.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let law = "a sample's answer does not depend on its batch mates";
        assert!(off <= TOLERANCE * largest, "{law}: off by {off:.1e} of {largest:.1e}");
    }
}

/// The batch of that sample alone.
fn only(batch: &ActivationBatch, sample: usize) -> ActivationBatch {
    let (rows, hidden) = (batch.layout().range(sample), batch.hidden());
    let tap = |tap| batch.tap(tap)[rows.start * hidden..rows.end * hidden].to_vec();
    let taps = (0..batch.taps()).map(tap).collect();
    ActivationBatch::new(Layout::from_counts([rows.len()]), hidden, taps).expect("its own rows")
}

/// With one token pooled, the other tokens change nothing (per-token adapters do not mix tokens), so
/// that a selector that drops them loses nothing. Networks that mix tokens do not keep this.
///
/// # Panics
/// If they do.
pub fn ignores_rows_that_pooling_drops(config: &dyn SideNetworkConfig) {
    for pooling in [Pooling::FirstToken, Pooling::LastToken] {
        let mut toy = Toy::new((OBJECTIVES[0], supervision(config)), 10);
        toy.context.pooling = pooling;
        let (mut all, mut one) = (build(config, &toy), build(config, &toy));
        for _ in 0..10 {
            let (batch, supervision) = toy.batch();
            let alone = only_pooled(&batch, pooling);
            let loss = all.train_step(&batch, &supervision).expect("it fits").loss;
            let other = one.train_step(&alone, &supervision).expect("it fits").loss;
            assert_eq!(other, loss, "the loss does not depend on rows that {pooling:?} drops");
        }
        let (one, all) = (one.adapter().expect("one"), all.adapter().expect("one"));
        assert!(one == all, "the adapter does not depend on rows that {pooling:?} drops");
    }
}

/// With one token pooled, the other tokens change the answer: else there would be no use in sending
/// them to a network that mixes tokens.
///
/// # Panics
/// If they do not.
pub fn answers_to_rows_that_pooling_drops(config: &dyn SideNetworkConfig) {
    for pooling in [Pooling::FirstToken, Pooling::LastToken] {
        assert!(answers(config, pooling), "the answer depends on rows that {pooling:?} drops");
    }
}

/// A selector may drop what pooling drops, or it may not: a network that sees the other tokens in its
/// answers is one that mixes them, and any other must not learn from them either.
pub(super) fn mixes_tokens_or_leaves_them_alone(config: &dyn SideNetworkConfig) {
    if !answers(config, Pooling::FirstToken) {
        ignores_rows_that_pooling_drops(config);
    }
}

/// Whether rows that `pooling` drops change what a trained network predicts.
fn answers(config: &dyn SideNetworkConfig, pooling: Pooling) -> bool {
    let mut toy = Toy::new((OBJECTIVES[0], supervision(config)), 10);
    toy.context.pooling = pooling;
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 10);
    let (batch, _) = toy.batch();
    let predict = |batch: &ActivationBatch| network.predict(batch).expect("it fits");
    predict(&batch) != predict(&only_pooled(&batch, pooling))
}

fn only_pooled(batch: &ActivationBatch, pooling: Pooling) -> ActivationBatch {
    let (layout, hidden) = (batch.layout(), batch.hidden());
    let kept = |sample| match pooling {
        Pooling::LastToken => layout.range(sample).end - 1,
        _ => layout.range(sample).start,
    };
    let rows = |tap: usize| {
        let row = move |sample| batch.tap(tap)[kept(sample) * hidden..][..hidden].to_vec();
        (0..layout.samples()).flat_map(row).collect()
    };
    let taps = (0..batch.taps()).map(rows).collect();
    let alone = Layout::from_counts(vec![1; layout.samples()]);
    ActivationBatch::new(alone, hidden, taps).expect("one row for each sample")
}
