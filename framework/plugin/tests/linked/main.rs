//! Components of this very program, driven through the door as those of a library are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backbone;
mod privacy;
mod selector;
mod side_network;
mod silence;
mod transport;

use std::sync::Once;

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_core::backbone::{BackboneInfo, Pooling, TokenBatch, Tokens};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_plugin::Library;
use mobillm_privacy::{LabelsConfig, PredictionDifferenceConfig};
use mobillm_selectors::{AllConfig, ChosenLayersConfig, EveryNthLayerConfig, LossTokensConfig};
use mobillm_testkit::fakes::FakeBackboneConfig;
use mobillm_transport_in_memory::InMemoryConfig;
use mobillm_transport_tcp::TcpConfig;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mobillm_plugin::export! {
    backbones: [FakeBackboneConfig, backbone::MischiefConfig],
    selectors: [
        AllConfig,
        ChosenLayersConfig,
        EveryNthLayerConfig,
        LossTokensConfig,
        selector::MischiefConfig,
    ],
    privacy_policies: [LabelsConfig, PredictionDifferenceConfig, privacy::MischiefConfig],
    transports: [InMemoryConfig, TcpConfig, transport::MischiefConfig],
    side_networks: [CandleSideNetworkConfig, side_network::MischiefConfig],
}

/// The config twin of what this program has, as that of a library.
fn loaded<C: DeserializeOwned>(tag: &str, options: &Value) -> C {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the door is of `export!`.
        unsafe { Library::linked("linked", mobillm_plugin) }.unwrap();
    });
    serde_json::from_value(json!({ "type": "loaded", "tag": tag, "options": options })).unwrap()
}

/// The same, linked in.
fn native<C: DeserializeOwned>(tag: &str, options: &Value) -> C {
    let mut config = json!({ "type": tag });
    config.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn info() -> BackboneInfo {
    BackboneInfo {
        architecture: "test".into(),
        layers: 4,
        hidden: 6,
        max_tokens: 16,
        vocabulary: 100,
        pooling: Pooling::LastToken,
        own_outputs: None,
        language_head: false,
        bundle: Fingerprint::of(b"test"),
    }
}

/// Three samples of 3, 1 and 5 tokens.
fn batch() -> TokenBatch {
    let sample = |ids: &[u32]| Tokens { ids: ids.to_vec(), segments: vec![1; ids.len()] };
    TokenBatch::new(&[sample(&[5, 6, 7]), sample(&[8]), sample(&[1, 2, 3, 4, 5])], 9)
}

/// What a panic of the other side says; unlike `panic!` this does not print.
fn panic(what: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(what))
}
