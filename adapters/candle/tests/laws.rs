//! The laws of the slot, and what this engine promises beyond them.

use std::num::NonZeroUsize;

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_adapter_portable::{Activation, Architecture, Bottleneck, Projection};
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::registry::{Registry, Slot};
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_testkit::side_network::{
    OBJECTIVES, Toy, additive_on_zeros_trains_as_alone, answers_to_rows_that_pooling_drops,
    conformance, ignores_rows_that_pooling_drops, tasks, train,
};

const SMALL: Bottleneck = Bottleneck { rank: 3, activation: Activation::Relu };

fn threads(threads: usize) -> CandleSideNetworkConfig {
    CandleSideNetworkConfig { threads: NonZeroUsize::new(threads), ..Default::default() }
}

fn with(architecture: Architecture) -> CandleSideNetworkConfig {
    CandleSideNetworkConfig { architecture, ..Default::default() }
}

fn additive(bottleneck: Bottleneck) -> CandleSideNetworkConfig {
    with(Architecture::AdditiveAdapter(bottleneck))
}

/// Pooling over tokens, alone and added.
fn pooling() -> [CandleSideNetworkConfig; 2] {
    let options = Projection::default();
    [Architecture::ParallelPooling(options), Architecture::AdditivePooling(options)].map(with)
}

mobillm_testkit::side_network_conformance!(parallel_adapter, CandleSideNetworkConfig::default());
mobillm_testkit::side_network_conformance!(additive_adapter, additive(Bottleneck::default()));
mobillm_testkit::side_network_conformance!(parallel_pooling, pooling()[0].clone());
mobillm_testkit::side_network_conformance!(additive_pooling, pooling()[1].clone());

#[test]
fn other_options_keep_the_laws() {
    let architecture = Architecture::ParallelAdapter(SMALL);
    conformance(&CandleSideNetworkConfig { architecture, ..threads(1) });
    conformance(&additive(SMALL));
    conformance(&with(Architecture::AdditivePooling(Projection { width: 5 })));
}

#[test]
fn adapters_leave_tokens_alone_and_pooling_mixes_them() {
    ignores_rows_that_pooling_drops(&CandleSideNetworkConfig::default());
    ignores_rows_that_pooling_drops(&additive(SMALL));
    pooling().iter().for_each(|config| answers_to_rows_that_pooling_drops(config));
}

#[test]
fn an_additive_network_takes_differences_and_for_classes_own_logits() {
    use SupervisionKind::{Difference, TruthAndOwn};
    let [two, three, value] = OBJECTIVES;
    let (on_differences, on_labels) = ([two, three, value], [two, three]);
    let expected = on_differences.map(|objective| (objective, Difference)).into_iter();
    let expected = expected.chain(on_labels.map(|objective| (objective, TruthAndOwn)));
    assert_eq!(tasks(&additive(SMALL)), expected.collect::<Vec<_>>());
}

#[test]
fn an_own_prediction_of_zeros_changes_no_bit() {
    additive_on_zeros_trains_as_alone(
        &CandleSideNetworkConfig::default(),
        &additive(Bottleneck::default()),
    );
    let [alone, added] = pooling();
    additive_on_zeros_trains_as_alone(&alone, &added);
}

#[test]
fn threads_change_no_bit() {
    // wide enough that the matrix products are split among threads
    let trained = |config: &CandleSideNetworkConfig| {
        let mut toy = Toy::new((OBJECTIVES[0], SupervisionKind::Truth), 5);
        toy.context.hidden = 4096;
        let mut network = config.build(&toy.context).unwrap();
        let losses = train(&mut *network, &mut toy, 5);
        (losses, network.checkpoint().unwrap())
    };
    for architecture in
        [Architecture::default(), Architecture::ParallelPooling(Projection::default())]
    {
        let with_threads = |count| CandleSideNetworkConfig { architecture, ..threads(count) };
        let one = trained(&with_threads(1));
        for config in [with_threads(2), with_threads(3), with(architecture)] {
            let other = trained(&config);
            assert_eq!(one.0, other.0);
            assert!(one.1 == other.1, "{config:?}");
        }
    }
}

#[test]
fn options_have_defaults_and_unknown_ones_are_refused() {
    let parse = serde_json::from_str::<Box<dyn SideNetworkConfig>>;
    let config = parse(r#"{"type":"candle","threads":2}"#).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", threads(2)));
    let nested = r#"{"type":"candle","architecture":{"type":"parallel-adapter","rank":8}}"#;
    assert!(format!("{:?}", parse(nested).unwrap()).contains("rank: 8"));
    assert!(parse(r#"{"type":"candle","threads":0}"#).is_err());
    assert!(parse(r#"{"type":"candle","thread":1}"#).is_err());
}

#[test]
fn what_cannot_be_built_is_found_and_refused() {
    let architecture = Architecture::ParallelAdapter(Bottleneck { rank: 0, ..SMALL });
    let config = CandleSideNetworkConfig { architecture, ..Default::default() };
    let context = Toy::new((OBJECTIVES[0], SupervisionKind::Truth), 5).context;
    assert_eq!(config.check(&context)[0].path, "architecture.rank");
    let error = config.build(&context).err().unwrap().to_string();
    assert_eq!(error, "adapter: architecture.rank: 0 is out of range; expected 1 to 4096");
}

#[test]
fn registers_under_its_tag() {
    let mut registry = Registry::new();
    mobillm_adapter_candle::register(&mut registry).unwrap();
    let entry = registry.entry(Slot::SideNetwork, "candle").unwrap();
    assert_eq!(entry.origin, "mobillm-adapter-candle");
    assert!(mobillm_adapter_candle::register(&mut registry).is_err());
}
