//! The laws of the slot, and that this engine and candle are one network.
#![expect(clippy::unwrap_used, reason = "tests, and what they share")]

use std::num::NonZeroU16;

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_adapter_libtorch::{DeviceChoice, LibtorchSideNetworkConfig};
use mobillm_adapter_portable::{Activation, Architecture, Bottleneck, Projection};
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::registry::{Registry, Slot};
use mobillm_core::side_network::{SideNetwork, SideNetworkConfig};
use mobillm_testkit::side_network::{
    OBJECTIVES, Task, Toy, additive_on_zeros_trains_as_alone, answers_to_rows_that_pooling_drops,
    conformance, ignores_rows_that_pooling_drops, tasks, train,
};

const RELU: Bottleneck = Bottleneck { rank: 3, activation: Activation::Relu };

fn additive() -> Architecture {
    Architecture::AdditiveAdapter(Bottleneck::default())
}

/// Pooling over tokens, alone and added.
fn pooling() -> [Architecture; 2] {
    let options = Projection { width: 16 };
    [Architecture::ParallelPooling(options), Architecture::AdditivePooling(options)]
}

fn libtorch(architecture: Architecture) -> LibtorchSideNetworkConfig {
    LibtorchSideNetworkConfig { architecture, ..Default::default() }
}

mobillm_testkit::side_network_conformance!(parallel_adapter, libtorch(Architecture::default()));
mobillm_testkit::side_network_conformance!(additive_adapter, libtorch(additive()));
mobillm_testkit::side_network_conformance!(parallel_pooling, libtorch(pooling()[0]));
mobillm_testkit::side_network_conformance!(additive_pooling, libtorch(pooling()[1]));

#[test]
fn another_bottleneck_keeps_the_laws() {
    for architecture in [Architecture::ParallelAdapter(RELU), Architecture::AdditiveAdapter(RELU)] {
        conformance(&LibtorchSideNetworkConfig {
            device: DeviceChoice::Cpu,
            threads: NonZeroU16::new(1),
            architecture,
        });
    }
}

#[test]
fn adapters_leave_tokens_alone_and_pooling_mixes_them() {
    ignores_rows_that_pooling_drops(&libtorch(Architecture::default()));
    ignores_rows_that_pooling_drops(&libtorch(additive()));
    let mixes = |architecture| answers_to_rows_that_pooling_drops(&libtorch(architecture));
    pooling().into_iter().for_each(mixes);
}

#[test]
fn an_own_prediction_of_zeros_changes_no_bit() {
    additive_on_zeros_trains_as_alone(&libtorch(Architecture::default()), &libtorch(additive()));
    let [alone, added] = pooling().map(libtorch);
    additive_on_zeros_trains_as_alone(&alone, &added);
}

/// Both engines with one architecture.
fn pair(architecture: Architecture) -> [Box<dyn SideNetworkConfig>; 2] {
    [
        Box::new(CandleSideNetworkConfig { architecture, ..Default::default() }),
        Box::new(libtorch(architecture)),
    ]
}

/// A network trained for all steps of `toy`, and its losses.
fn trained(config: &dyn SideNetworkConfig, mut toy: Toy) -> (Box<dyn SideNetwork>, Vec<f32>) {
    let mut network = config.build(&toy.context).unwrap();
    let losses = train(&mut *network, &mut toy, 50);
    (network, losses)
}

/// Every task with the architecture that takes it, and one with another bottleneck.
fn cases() -> impl Iterator<Item = (Task, Architecture)> {
    let tasks = |architecture| {
        let [candle, libtorch] = pair(architecture).map(|engine| tasks(&*engine));
        assert_eq!(candle, libtorch);
        candle.into_iter().map(move |task| (task, architecture))
    };
    let with_relu = (CLASSES, Architecture::ParallelAdapter(RELU));
    let all = [Architecture::default(), additive()].into_iter().chain(pooling());
    all.flat_map(tasks).chain([with_relu])
}

const CLASSES: Task = (OBJECTIVES[1], SupervisionKind::Truth);

#[test]
fn both_engines_start_with_the_same_bytes() {
    for (task, architecture) in cases() {
        let context = Toy::new(task, 50).context;
        let start = pair(architecture).map(|engine| engine.build(&context).unwrap());
        let [candle, libtorch] = start.map(|network| network.checkpoint().unwrap());
        assert!(candle == libtorch, "{task:?}");
    }
}

#[test]
fn both_engines_make_the_same_losses_for_fifty_steps() {
    for (task, architecture) in cases() {
        let toy = Toy::new(task, 50);
        let [candle, libtorch] = pair(architecture).map(|engine| trained(&*engine, toy.clone()).1);
        for (step, (candle, libtorch)) in candle.iter().zip(&libtorch).enumerate() {
            let off = (candle - libtorch).abs() / candle.abs();
            assert!(off < 1e-3, "{task:?}, step {step}: {candle} and {libtorch}");
        }
    }
}

#[test]
fn what_one_trains_the_other_loads_and_predicts_equally() {
    for (task, architecture) in cases() {
        let engines = pair(architecture);
        for (trainer, reader) in [(0, 1), (1, 0)] {
            let toy = Toy::new(task, 50);
            let (network, _) = trained(&*engines[trainer], toy.clone());
            let adapter = network.adapter().unwrap();
            let loaded = engines[reader].load(&adapter).unwrap();
            assert!(loaded.adapter().unwrap() == adapter, "reading and writing change no bit");
            let (batch, _) = toy.clone().batch();
            let (ours, theirs) =
                (network.predict(&batch).unwrap(), loaded.predict(&batch).unwrap());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() < 1e-4, "{task:?}: {ours} and {theirs}");
            }
        }
    }
}

#[test]
fn a_run_can_change_its_engine() {
    let toy = Toy::new(CLASSES, 50);
    let [candle, libtorch] = pair(Architecture::default());
    let mut first = candle.build(&toy.context).unwrap();
    let mut batches = toy.clone();
    let mut losses = train(&mut *first, &mut batches, 25);
    let mut second = libtorch.build(&toy.context).unwrap();
    second.restore(&first.checkpoint().unwrap()).unwrap();
    losses.extend(train(&mut *second, &mut batches, 25));
    let (_, undisturbed) = trained(&*candle, toy);
    for (changed, undisturbed) in losses.iter().zip(&undisturbed) {
        assert!((changed - undisturbed).abs() < 1e-3 * undisturbed, "{changed} {undisturbed}");
    }
}

#[test]
fn registers_under_its_tag() {
    let mut registry = Registry::new();
    mobillm_adapter_libtorch::register(&mut registry).unwrap();
    mobillm_adapter_candle::register(&mut registry).unwrap();
    let entry = registry.entry(Slot::SideNetwork, "libtorch").unwrap();
    assert_eq!(entry.origin, "mobillm-adapter-libtorch");
}
