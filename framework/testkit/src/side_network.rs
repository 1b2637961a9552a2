//! Laws of the side network slot.
//!
//! [`side_network_conformance!`](crate::side_network_conformance) makes a test of each; [`conformance`]
//! holds them all at once:
//!
//! ```
//! let config = mobillm_adapter_candle::CandleSideNetworkConfig::default();
//! mobillm_testkit::side_network::conformance(&config);
//! ```
//!
//! Which laws apply follows from what the config takes: a network is trained on the truth, or it is
//! additive and trained on differences from the device's own prediction.
//!
//! The toy tasks ([`Toy`]) are small: three taps, ragged samples of 1 to 5 rows, targets that a
//! direction in the middle tap decides, and a device that is half right by itself.
//!
//! # Laws
//!
//! Most are held for every task that `check` finds no fault with ([`tasks`]).
//!
//! * `knows_what_it_can_be_trained_on`: the truth or, being additive, differences, for every objective;
//!   `check` and `build` agree.
//! * `starts_at_zero`: before the first step the output is exactly zero, so that an additive network answers
//!   as the backbone does; `info` is that of the context.
//! * `learns`: the loss of a toy task falls to less than half, and reports follow the schedule.
//! * `repeats_itself`: equal seeds and batches give equal bits, another seed another network.
//! * `goes_on_from_a_checkpoint`: saving, restoring and going on equals going on, to the bit; a checkpoint of
//!   another run is refused.
//! * `loads_what_it_saved`: an adapter predicts what was trained, to the bit, and does not train.
//! * `takes_a_single_tap`: one layer is enough.
//! * `batch_mates_do_not_matter`: a sample's answer is the one that it gets alone, but for rounding.
//! * `mixes_tokens_or_leaves_them_alone`: rows that pooling drops change the answer, or else they change
//!   nothing in training either.
//! * `refuses_batches_that_do_not_fit`: as an error of its own, and the network is as before.
//! * `refuses_targets_that_do_not_fit`: with the sample's number, and the network is as before.
//! * `refuses_damaged_files`: cut, of another kind or of another network, and the network is as before.
//! * `stops_when_the_loss_is_no_number`: with the step's number, and the network is as before.
#![expect(clippy::expect_used, reason = "a suite panics with the law that is broken")]

mod refusals;
mod tokens;
mod toy;

use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{SideNetwork, SideNetworkConfig};

pub use tokens::{answers_to_rows_that_pooling_drops, ignores_rows_that_pooling_drops};
pub use toy::Toy;

use crate::law::{Law, hold_all};
use refusals::{
    refuses_batches_that_do_not_fit, refuses_damaged_files, refuses_targets_that_do_not_fit,
    stops_when_the_loss_is_no_number,
};
use tokens::{batch_mates_do_not_matter, mixes_tokens_or_leaves_them_alone};
use toy::{HIDDEN, SAMPLES, TAPS};

/// The objectives that a side network must take.
pub const OBJECTIVES: [Objective; 3] = [
    Objective::Classification { classes: 2 },
    Objective::Classification { classes: 3 },
    Objective::Regression,
];

const SUPERVISION: [SupervisionKind; 3] =
    [SupervisionKind::Truth, SupervisionKind::Difference, SupervisionKind::TruthAndOwn];

/// What a network is for, and what it is trained on.
pub type Task = (Objective, SupervisionKind);

/// Makes a module of tests, one for each law, of the networks of a [`SideNetworkConfig`]. The module has
/// the name that is given, or `conformance`.
///
/// ```
/// use mobillm_adapter_candle::CandleSideNetworkConfig;
///
/// mobillm_testkit::side_network_conformance!(CandleSideNetworkConfig::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! side_network_conformance {
    (@laws $then:ident $($given:tt)*) => {
        $crate::$then! {
            [
                knows_what_it_can_be_trained_on
                starts_at_zero
                learns
                repeats_itself
                goes_on_from_a_checkpoint
                loads_what_it_saved
                takes_a_single_tap
                batch_mates_do_not_matter
                mixes_tokens_or_leaves_them_alone
                refuses_batches_that_do_not_fit
                refuses_targets_that_do_not_fit
                refuses_damaged_files
                stops_when_the_loss_is_no_number
            ]
            $($given)*
        }
    };
    ($module:ident, $config:expr $(,)?) => {
        $crate::side_network_conformance! { @laws __law_tests $module, |name: &str| {
            $crate::law::hold(&$crate::side_network::laws(&$config), name)
        } }
    };
    ($config:expr $(,)?) => {
        $crate::side_network_conformance! { conformance, $config }
    };
}

/// Holds every law against the networks of `config`.
///
/// # Panics
/// With the law that is broken.
pub fn conformance(config: &dyn SideNetworkConfig) {
    hold_all(&laws(config));
}

/// Every law, for the networks of `config`.
pub fn laws(config: &dyn SideNetworkConfig) -> Vec<Law<'_>> {
    let law = |name, holds: fn(&dyn SideNetworkConfig)| Law::new(name, move || holds(config));
    let for_tasks = |name, holds: fn(&dyn SideNetworkConfig, Task)| {
        Law::new(name, move || {
            let tasks = tasks(config);
            assert!(!tasks.is_empty(), "`check` finds fault with every task");
            tasks.into_iter().for_each(|task| holds(config, task));
        })
    };
    vec![
        law("knows_what_it_can_be_trained_on", knows_what_it_can_be_trained_on),
        for_tasks("starts_at_zero", starts_at_zero),
        for_tasks("learns", learns),
        for_tasks("repeats_itself", repeats_itself),
        for_tasks("goes_on_from_a_checkpoint", goes_on_from_a_checkpoint),
        for_tasks("loads_what_it_saved", loads_what_it_saved),
        law("takes_a_single_tap", takes_a_single_tap),
        for_tasks("batch_mates_do_not_matter", batch_mates_do_not_matter),
        law("mixes_tokens_or_leaves_them_alone", mixes_tokens_or_leaves_them_alone),
        law("refuses_batches_that_do_not_fit", refuses_batches_that_do_not_fit),
        for_tasks("refuses_targets_that_do_not_fit", refuses_targets_that_do_not_fit),
        law("refuses_damaged_files", refuses_damaged_files),
        law("stops_when_the_loss_is_no_number", stops_when_the_loss_is_no_number),
    ]
}

/// What `config`'s networks are trained on first of all.
fn supervision(config: &dyn SideNetworkConfig) -> SupervisionKind {
    tasks(config).first().expect("`check` finds no fault with some task").1
}

/// The tasks that `config` finds no fault with: first all objectives with the supervision that it must
/// take, then what it takes besides.
pub fn tasks(config: &dyn SideNetworkConfig) -> Vec<Task> {
    let takes = |&(objective, supervision): &Task| {
        config.check(&Toy::new((objective, supervision), 1).context).is_empty()
    };
    all_tasks().filter(takes).collect()
}

fn all_tasks() -> impl Iterator<Item = Task> {
    SUPERVISION.into_iter().flat_map(|kind| OBJECTIVES.map(|objective| (objective, kind)))
}

/// Builds the network of `toy`.
fn build(config: &dyn SideNetworkConfig, toy: &Toy) -> Box<dyn SideNetwork> {
    let found = config.check(&toy.context);
    assert!(found.is_empty(), "`check` finds fault with a good context: {found:?}");
    config.build(&toy.context).expect("a good context builds")
}

/// Trains `network` for `steps` steps on the next batches of `toy`; the losses.
pub fn train(network: &mut dyn SideNetwork, toy: &mut Toy, steps: u64) -> Vec<f32> {
    let step = |_| {
        let (batch, supervision) = toy.batch();
        network.train_step(&batch, &supervision).expect("the toy's batches fit").loss
    };
    (0..steps).map(step).collect()
}

/// A network is trained on the truth or, being additive, on differences: on one of the two, for every
/// objective. What `check` finds fault with is not built.
fn knows_what_it_can_be_trained_on(config: &dyn SideNetworkConfig) {
    let taken = tasks(config);
    let takes = |kind| OBJECTIVES.map(|objective| taken.contains(&(objective, kind)));
    let (truth, difference) = (takes(SupervisionKind::Truth), takes(SupervisionKind::Difference));
    let one_of_them = truth != difference && [truth, difference].contains(&[true; 3]);
    assert!(one_of_them, "all objectives, with the truth or with differences: {taken:?}");
    for task in all_tasks() {
        match config.build(&Toy::new(task, 1).context) {
            Ok(network) => {
                assert!(taken.contains(&task), "`check` finds fault with what is built: {task:?}");
                let additive = network.info().additive;
                assert_eq!(additive, task.1 != SupervisionKind::Truth, "{task:?}");
            }
            Err(error) => assert!(!taken.contains(&task), "`check` finds no fault: {error}"),
        }
    }
}

/// Before the first step the output is exactly zero, and the info tells the truth.
fn starts_at_zero(config: &dyn SideNetworkConfig, task: Task) {
    let mut toy = Toy::new(task, 10);
    let network = build(config, &toy);
    let info = network.info();
    assert_eq!((&info.taps[..], info.hidden, info.objective), (&TAPS[..], HIDDEN, task.0));
    assert_eq!(info.bundle, toy.context.bundle);
    let outputs = network.predict(&toy.batch().0).expect("the toy's batches fit");
    assert_eq!(outputs.dim(), (SAMPLES, task.0.outputs()), "the shape of the output");
    assert!(outputs.iter().all(|&value| value == 0.0), "the output starts at zero: {outputs}");
}

/// The loss falls, and the reports follow the schedule.
fn learns(config: &dyn SideNetworkConfig, task: Task) {
    let mut toy = Toy::new(task, 150);
    let mut network = build(config, &toy);
    let losses = train(&mut *network, &mut toy, 149);
    let (batch, supervision) = toy.batch();
    let report = network.train_step(&batch, &supervision).expect("the toy's batches fit");
    assert_eq!(report.step, 149, "steps are counted from 0");
    assert_eq!(report.learning_rate, toy.context.optimizer.learning_rate_at(149, 150));
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[139..]));
    assert!(last < 0.5 * first, "{task:?}: the loss falls: {first} to {last}");
}

/// Equal seeds and batches give equal bits; another seed gives another network.
fn repeats_itself(config: &dyn SideNetworkConfig, task: Task) {
    let run = |seed| {
        let mut toy = Toy::new(task, 10);
        toy.context.seed = seed;
        let mut network = build(config, &toy);
        let losses = train(&mut *network, &mut toy, 10);
        (losses, network.adapter().expect("an adapter"), network.checkpoint().expect("one"))
    };
    let (once, again) = (run(17), run(17));
    assert_eq!(once.0, again.0, "equal seeds and batches give equal losses");
    assert!(once.1 == again.1 && once.2 == again.2, "equal seeds and batches give equal bytes");
    assert!(once.1 != run(18).1, "the seed decides the initial weights");
}

/// Saving, restoring and going on equals going on, to the bit.
fn goes_on_from_a_checkpoint(config: &dyn SideNetworkConfig, task: Task) {
    let mut toy = Toy::new(task, 20);
    let mut network = build(config, &toy);
    let mut other = build(config, &toy);
    train(&mut *network, &mut toy, 7);
    let checkpoint = network.checkpoint().expect("a checkpoint");
    let mut same_toy = toy.clone();
    let losses = train(&mut *network, &mut toy, 13);
    train(&mut *other, &mut Toy::new(task, 20), 3);
    other.restore(&checkpoint).expect("a network of the same context takes the checkpoint");
    assert!(other.checkpoint().expect("one") == checkpoint, "a checkpoint survives restoring");
    assert_eq!(train(&mut *other, &mut same_toy, 13), losses, "going on equals not stopping");
    let adapters = [&network, &other].map(|network| network.adapter().expect("an adapter"));
    assert!(adapters[0] == adapters[1], "going on ends with the same adapter");

    let mut longer = toy.clone();
    longer.context.steps += 1;
    let error = build(config, &longer).restore(&checkpoint).expect_err("it is of another run");
    assert!(error.to_string().contains("steps"), "the error names what differs: {error}");
}

/// What an adapter file holds predicts as what was trained, to the bit, and does not train.
fn loads_what_it_saved(config: &dyn SideNetworkConfig, task: Task) {
    let mut toy = Toy::new(task, 20);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 20);
    let adapter = network.adapter().expect("an adapter");
    let mut loaded = config.load(&adapter).expect("its own adapter");
    let (batch, supervision) = toy.batch();
    let outputs = network.predict(&batch).expect("the toy's batches fit");
    assert!(outputs.iter().any(|&value| value != 0.0), "twenty steps change the output");
    assert_eq!(loaded.predict(&batch).expect("the same"), outputs, "it predicts as before");
    assert_eq!(loaded.info(), network.info());
    assert!(loaded.adapter().expect("one") == adapter, "an adapter survives loading");
    assert!(loaded.train_step(&batch, &supervision).is_err(), "a loaded network only predicts");
}

/// One tapped layer is enough.
fn takes_a_single_tap(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new((OBJECTIVES[0], supervision(config)), 100);
    toy.context.taps = vec![4];
    let mut network = build(config, &toy);
    let losses = train(&mut *network, &mut toy, 100);
    assert!(losses[99] < 0.5 * losses[0], "the loss falls: {} to {}", losses[0], losses[99]);
    let checkpoint = network.checkpoint().expect("a checkpoint");
    network.restore(&checkpoint).expect("its own checkpoint");
}

/// Added to an own prediction of zeros, `additive` trains on labels exactly as `alone` does: equal
/// losses and, but for the name of the architecture, equal outputs, to the bit.
pub fn additive_on_zeros_trains_as_alone(
    alone: &dyn SideNetworkConfig,
    additive: &dyn SideNetworkConfig,
) {
    for objective in [OBJECTIVES[0], OBJECTIVES[1]] {
        let mut toy = Toy::new((objective, SupervisionKind::Truth), 30);
        let with_own = Toy::new((objective, SupervisionKind::TruthAndOwn), 30);
        let (mut alone, mut additive) = (build(alone, &toy), build(additive, &with_own));
        for step in 0..30 {
            let (batch, labels) = toy.batch();
            let from_zeros = |label: &Supervision| match label {
                Supervision::Label(class) => {
                    Supervision::LabelAndOwn(*class, vec![0.0; objective.outputs()])
                }
                other => panic!("the toy gives labels: {other:?}"),
            };
            let from_zeros: Vec<Supervision> = labels.iter().map(from_zeros).collect();
            let loss = alone.train_step(&batch, &labels).expect("it fits").loss;
            let other = additive.train_step(&batch, &from_zeros).expect("it fits").loss;
            assert_eq!(other.to_bits(), loss.to_bits(), "{objective:?}, step {step}");
        }
        let (batch, _) = toy.batch();
        let outputs = alone.predict(&batch).expect("it fits");
        assert_eq!(additive.predict(&batch).expect("it fits"), outputs, "{objective:?}");
    }
}

#[cfg(test)]
mod mutants;
