//! What does not fit is refused, and changes nothing.

use std::mem::discriminant;

use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::privacy::Supervision;
use mobillm_core::side_network::{SideNetworkConfig, SideNetworkError};

use super::toy::HIDDEN;
use super::{OBJECTIVES, Task, Toy, build, supervision, train};

/// A batch that does not fit is an error of its own, and leaves the network as it was.
pub(super) fn refuses_batches_that_do_not_fit(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new((OBJECTIVES[1], supervision(config)), 10);
    let mut network = build(config, &toy);
    let (batch, supervision) = toy.batch();
    let before = network.checkpoint().expect("a checkpoint");
    let zeros = |counts: &[usize], hidden: usize, taps: usize| {
        let layout = Layout::from_counts(counts.iter().copied());
        let tap = vec![0.0; layout.rows() * hidden];
        ActivationBatch::new(layout, hidden, vec![tap; taps]).expect("shapes fit")
    };
    let one = &supervision[..1];
    let cases = [
        (zeros(&[1], HIDDEN, 2), one, "too few taps"),
        (zeros(&[1], HIDDEN + 1, 3), one, "rows that are too wide"),
        (zeros(&[0], HIDDEN, 3), one, "a sample without rows"),
        (zeros(&[], HIDDEN, 3), &[], "no samples"),
        (batch, &supervision[1..], "too few targets"),
    ];
    for (batch, supervision, what) in cases {
        let result = network.train_step(&batch, supervision);
        assert!(matches!(result, Err(SideNetworkError::Batch { .. })), "{what}: {result:?}");
    }
    let result = network.predict(&zeros(&[1], HIDDEN, 2));
    assert!(matches!(result, Err(SideNetworkError::Batch { .. })), "predict too: {result:?}");
    assert!(network.checkpoint().expect("one") == before, "a refused batch changes nothing");
}

/// A target of another kind, of another width, out of range or not finite is an error that names its
/// sample, and leaves the network as it was.
pub(super) fn refuses_targets_that_do_not_fit(config: &dyn SideNetworkConfig, task: Task) {
    use Supervision::{Difference, Label, LabelAndOwn, Value};
    let mut toy = Toy::new(task, 10);
    let mut network = build(config, &toy);
    let (batch, good) = toy.batch();
    let before = network.checkpoint().expect("a checkpoint");
    let outputs = task.0.outputs();
    let (zeros, wide) = (vec![0.0; outputs], vec![0.0; outputs + 1]);
    let not_finite = vec![f32::INFINITY; outputs];
    let never = [
        Label(outputs as u32),
        Value(f32::NAN),
        Difference(wide.clone()),
        Difference(not_finite.clone()),
        LabelAndOwn(outputs as u32, zeros.clone()),
        LabelAndOwn(0, wide),
        LabelAndOwn(0, not_finite),
    ];
    let one_of_each = [Label(0), Value(0.5), Difference(zeros.clone()), LabelAndOwn(0, zeros)];
    let another = |given: &Supervision| discriminant(given) != discriminant(&good[0]);
    for wrong in one_of_each.into_iter().filter(another).chain(never) {
        let mut supervision = good.clone();
        supervision[5] = wrong;
        let error = match network.train_step(&batch, &supervision) {
            Err(error @ SideNetworkError::Batch { .. }) => error.to_string(),
            other => panic!("{task:?}, {:?}: {other:?}", supervision[5]),
        };
        assert!(error.contains('5'), "the error names the sample: {error}");
    }
    assert!(network.checkpoint().expect("one") == before, "a refused target changes nothing");
}

/// Files that are cut, changed in kind or of another network are refused, and change nothing.
pub(super) fn refuses_damaged_files(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new((OBJECTIVES[0], supervision(config)), 10);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 2);
    let (adapter, checkpoint) =
        (network.adapter().expect("one"), network.checkpoint().expect("one"));
    let refused = |result: Result<(), SideNetworkError>, what: &str| {
        assert!(matches!(result, Err(SideNetworkError::Adapter { .. })), "{what}: {result:?}");
    };
    for length in [0, 7, 8, 100, adapter.len() / 2, adapter.len() - 1] {
        refused(config.load(&adapter[..length]).map(drop), "a cut adapter");
        refused(network.restore(&checkpoint[..length]), "a cut checkpoint");
    }
    refused(config.load(&checkpoint).map(drop), "a checkpoint for an adapter");
    refused(network.restore(&adapter), "an adapter for a checkpoint");
    let other = build(config, &Toy::new((OBJECTIVES[1], supervision(config)), 10))
        .checkpoint()
        .expect("one");
    refused(network.restore(&other), "a checkpoint of another network");
    assert!(network.checkpoint().expect("one") == checkpoint, "a refused file changes nothing");
}

/// A loss that is no number is an error and changes nothing.
pub(super) fn stops_when_the_loss_is_no_number(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new((OBJECTIVES[0], supervision(config)), 10);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 2);
    let before = network.checkpoint().expect("a checkpoint");
    let (batch, supervision) = toy.batch();
    let mut taps: Vec<Vec<f32>> = (0..batch.taps()).map(|tap| batch.tap(tap).to_vec()).collect();
    taps[1][3] = f32::NAN;
    let broken = ActivationBatch::new(batch.layout().clone(), HIDDEN, taps).expect("shapes fit");
    let result = network.train_step(&broken, &supervision);
    assert!(matches!(result, Err(SideNetworkError::Diverged { step: 2, .. })), "{result:?}");
    assert!(network.checkpoint().expect("one") == before, "a diverged step changes nothing");
}
