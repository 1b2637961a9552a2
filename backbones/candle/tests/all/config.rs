//! The config twin: what it takes, and what it says about mistakes.

use std::fs;

use mobillm_backbone_candle::{CandleBackboneConfig, register};
use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_bundle::network::Positions;
use mobillm_core::backbone::{BackboneConfig, BackboneError};
use mobillm_core::registry::{Registry, Slot};
use serde_json::json;

use crate::setup;

#[test]
fn it_is_registered_with_its_options() {
    let mut registry = Registry::new();
    register(&mut registry).unwrap();
    assert!(register(&mut registry).is_err());
    let entry = registry.entry(Slot::Backbone, "candle").unwrap();
    assert_eq!(entry.schema.as_value()["properties"]["threads"]["maximum"], json!(1024));
    let config: Box<dyn BackboneConfig> =
        serde_json::from_value(json!({"type": "candle", "threads": 2})).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap()["threads"], json!(2));
    let unknown = json!({"type": "candle", "thread": 2});
    assert!(serde_json::from_value::<Box<dyn BackboneConfig>>(unknown).is_err());
}

#[test]
fn impossible_threads_are_found_before_anything_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let findings = |threads| CandleBackboneConfig { threads }.check(bundle.info()).len();
    assert_eq!([None, Some(1), Some(1024)].map(findings), [0; 3]);
    assert_eq!([Some(0), Some(1025)].map(findings), [1; 2]);
}

/// That `bundle` is refused, and that the error says `problem`.
#[track_caller]
fn refused(bundle: &Bundle, taps: &[usize], label_tokens: &[u32], problem: &str) {
    let context = setup::context(bundle, taps, label_tokens);
    let error = CandleBackboneConfig::default().build(&context).err().unwrap();
    assert!(matches!(&error, BackboneError::Bundle { .. }), "{error}");
    assert!(error.to_string().contains(problem), "{error}");
}

#[test]
fn taps_and_label_tokens_that_the_model_does_not_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = TinyBert::default().bundle(&folder.path().join("encoder")).unwrap();
    refused(&encoder, &[], &[], "no layer");
    refused(&encoder, &[0, 4], &[], "layers 0 to 3");
    refused(&encoder, &[0], &[1], "no head that scores words");
    let decoder = TinyDecoder::default().bundle(&folder.path().join("decoder")).unwrap();
    refused(&decoder, &[0], &[2, 1_000_000], "1000000");
}

#[test]
fn a_damaged_bundle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let weights = fs::read(bundle.weights_path()).unwrap();
    fs::write(bundle.weights_path(), vec![0xff; weights.len()]).unwrap();
    refused(&bundle, &[0], &[], "weights.safetensors");
    fs::write(bundle.weights_path(), "").unwrap();
    refused(&bundle, &[0], &[], "bytes, got 0");
    fs::remove_file(bundle.weights_path()).unwrap();
    refused(&bundle, &[0], &[], "no such file");
}

/// The bundle in the folder of `bundle`, its manifest changed and signed anew.
fn changed(bundle: &Bundle, change: impl FnOnce(&mut mobillm_bundle::Manifest)) -> Bundle {
    let mut manifest = bundle.manifest().clone();
    change(&mut manifest);
    manifest.model.bundle = manifest.fingerprint();
    let path = bundle.path().join("manifest.json");
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    Bundle::open(bundle.path()).unwrap()
}

#[test]
fn a_bundle_that_describes_no_network_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let foreign = changed(&bundle, |manifest| manifest.network = None);
    refused(&foreign, &[0], &[], "`onnxruntime`");
    let old = changed(&bundle, |manifest| {
        manifest.network = None;
        manifest.format = 1;
    });
    refused(&old, &[0], &[], "format 1");
}

#[test]
fn a_network_that_contradicts_itself_or_the_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = |name: &str| TinyDecoder::default().bundle(&folder.path().join(name)).unwrap();
    let network = |name: &str, change: fn(&mut mobillm_bundle::network::Network)| {
        changed(&bundle(name), |manifest| change(manifest.network.as_mut().unwrap()))
    };
    let heads = network("heads", |network| network.attention.key_heads = 3);
    refused(&heads, &[1], &[], "4 heads of 16 over 3");
    let none = network("none", |network| network.attention.heads = 0);
    refused(&none, &[1], &[], "0 heads");
    let rotary = network("rotary", |network| {
        network.attention.rotary.as_mut().unwrap().frequencies.pop();
    });
    refused(&rotary, &[1], &[], "7 frequencies");
    let positions = network("positions", |network| {
        network.embedding.positions = Positions::Learned { rows: 4, offset: 2 };
    });
    refused(&positions, &[1], &[], "4 positions from 2");
    let inner = network("inner", |network| network.feed_forward.inner = 95);
    refused(&inner, &[1], &[], "layers.0.feed_forward.gate.weight");
}
