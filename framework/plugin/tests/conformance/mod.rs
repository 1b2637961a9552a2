//! The laws of every slot, for our own components behind the door of [`library`](super::library).

use std::collections::BTreeSet;
use std::path::Path;

use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::{BackboneContext, NativeLibraries};
use mobillm_core::registry::Slot;
use mobillm_pull::{Cache, pull};
use mobillm_testkit::law::Verdict;
use mobillm_testkit::suite::{Component, Setting};
use mobillm_testkit::transport::Limits;
use serde_json::{Value, json};

use super::library;

/// Every component with the test that holds it.
const HELD: [(Slot, &str); 18] = [
    (Slot::Backbone, "candle"),
    (Slot::Backbone, "fake"),
    (Slot::Backbone, "onnxruntime"),
    (Slot::Selector, "all"),
    (Slot::Selector, "chosen-layers"),
    (Slot::Selector, "every-nth-layer"),
    (Slot::Selector, "loss-tokens"),
    (Slot::PrivacyPolicy, "labels"),
    (Slot::PrivacyPolicy, "prediction-difference"),
    (Slot::Quantizer, "fp16"),
    (Slot::Quantizer, "fp4"),
    (Slot::Quantizer, "int8"),
    (Slot::Quantizer, "nf4"),
    (Slot::Quantizer, "none"),
    (Slot::Transport, "in-memory"),
    (Slot::Transport, "link-emulator"),
    (Slot::Transport, "tcp"),
    (Slot::SideNetwork, "candle"),
];

#[test]
fn nothing_of_the_library_is_left_out() {
    let components = library().components.iter();
    let there: BTreeSet<(Slot, &str)> = components.map(|one| (one.slot, &*one.tag)).collect();
    assert_eq!(there, BTreeSet::from(HELD));
}

#[test]
fn what_is_not_there_keeps_no_law() {
    let table = json!({ "type": "loaded", "tag": "acme.nothing", "options": {} });
    let component = Component::parse(Slot::Quantizer, table).unwrap();
    // The first is about what is written in a config, and that is not wrong.
    for law in component.laws(&Setting::default()).iter().skip(1) {
        let Verdict::Broken(reason) = law.run() else { panic!("{law}: it is not broken") };
        assert!(reason.contains("it is not loaded"), "{law}: {reason}");
    }
}

/// Holds every law of `slot` against the component `tag` and tells all that are broken at once. As many as
/// `exempt` are not for it.
fn keeps_the_laws(slot: Slot, tag: &str, options: Value, setting: &Setting, exempt: usize) {
    assert!(library().components.iter().any(|one| one.slot == slot && one.tag == tag), "{tag}");
    let table = json!({ "type": "loaded", "tag": tag, "options": options });
    let component = Component::parse(slot, table).unwrap();
    let (mut broken, mut not_for_it) = (Vec::new(), 0);
    for law in component.laws(setting) {
        match law.run() {
            Verdict::Kept => {}
            Verdict::Broken(reason) => broken.push(format!("{law}: {reason}")),
            Verdict::Exempt(_) => not_for_it += 1,
        }
    }
    assert!(broken.is_empty(), "{slot} `{tag}`, {options}:\n{}", broken.join("\n\n"));
    assert_eq!(not_for_it, exempt, "{slot} `{tag}`: laws that are not for it");
}

fn backbone(tag: &str, options: Value, setting: &Setting) {
    keeps_the_laws(Slot::Backbone, tag, options, setting, 0);
}

fn selector(tag: &str, options: Value) {
    keeps_the_laws(Slot::Selector, tag, options, &Setting::default(), 0);
}

/// Its answers start from the own prediction, or they do not: some laws are of the one, some of the other.
fn privacy_policy(tag: &str, options: Value, exempt: usize) {
    keeps_the_laws(Slot::PrivacyPolicy, tag, options, &Setting::default(), exempt);
}

fn quantizer(tag: &str, options: Value) {
    keeps_the_laws(Slot::Quantizer, tag, options, &Setting::default(), 0);
}

fn transport(tag: &str, options: Value, max_frame_bytes: Option<usize>) {
    let setting = Setting { limits: Limits { max_frame_bytes }, ..Setting::default() };
    let exempt = usize::from(max_frame_bytes.is_none());
    keeps_the_laws(Slot::Transport, tag, options, &setting, exempt);
}

fn side_network(tag: &str, options: Value) {
    keeps_the_laws(Slot::SideNetwork, tag, options, &Setting::default(), 0);
}

/// The model in `bundle`, and the libraries of this machine that a backbone of it needs.
fn model(bundle: &Path, libraries: NativeLibraries) -> Setting {
    let (bundle, taps, label_tokens) = (bundle.to_owned(), Vec::new(), Vec::new());
    let backbone = Some(BackboneContext { bundle, taps, label_tokens, libraries });
    Setting { backbone, ..Setting::default() }
}

#[test]
fn the_candle_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let (prefix, head) = ("bert.".to_owned(), Some(3));
    let tiny = TinyBert { prefix, head, max_tokens: 12, ..TinyBert::default() };
    let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
    let setting = model(bundle.path(), NativeLibraries::default());
    backbone("candle", json!({ "threads": 2 }), &setting);
}

#[test]
fn the_onnxruntime_backbone() {
    let folder = tempfile::tempdir().unwrap();
    // Large enough that its layers take longer than its embedding.
    let (hidden, intermediate, max_tokens) = (64, 256, 64);
    let tiny = TinyBert { hidden, heads: 4, intermediate, max_tokens, ..TinyBert::default() };
    let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
    let library = pull(&Cache::user().unwrap(), "onnxruntime", &mut |_| {}).unwrap();
    let libraries = NativeLibraries([("onnxruntime".to_owned(), library)].into());
    backbone("onnxruntime", json!({ "threads": 2 }), &model(bundle.path(), libraries));
}

#[test]
fn the_fake_backbone() {
    let fake = json!({ "layers": 3, "hidden": 16, "own_outputs": 3, "layer_milliseconds": 1 });
    backbone("fake", fake, &model(Path::new("nowhere"), NativeLibraries::default()));
}

#[test]
fn selectors() {
    selector("all", json!({}));
    selector("all", json!({ "embedding": true }));
    selector("chosen-layers", json!({ "layers": [0, 3, 4, 9] }));
    selector("every-nth-layer", json!({ "n": 3, "tokens": { "type": "loss-tokens" } }));
    selector("loss-tokens", json!({}));
}

#[test]
fn privacy_policies() {
    privacy_policy("labels", json!({}), 2);
    privacy_policy("labels", json!({ "own_prediction": true }), 1);
    privacy_policy("prediction-difference", json!({}), 1);
}

#[test]
fn quantizers() {
    quantizer("none", json!({}));
    quantizer("fp16", json!({}));
    for tag in ["int8", "nf4", "fp4"] {
        quantizer(tag, json!({}));
        quantizer(tag, json!({ "block": 16, "double_quantization": true }));
    }
}

#[test]
fn the_in_memory_transport() {
    transport("in-memory", json!({}), None);
}

#[test]
fn the_tcp_transport() {
    let limit = 4 << 20;
    transport("tcp", json!({ "address": "127.0.0.1:0", "max_frame_bytes": limit }), Some(limit));
}

#[test]
fn the_link_emulator() {
    transport("link-emulator", json!({ "latency_ms": 2.0, "jitter_ms": 1.0 }), None);
}

#[test]
fn the_candle_side_network_that_answers_alone() {
    side_network("candle", json!({}));
}

#[test]
fn the_candle_side_network_that_is_added() {
    side_network("candle", json!({ "architecture": { "type": "additive-adapter" } }));
}

#[test]
fn the_candle_side_network_that_mixes_tokens() {
    side_network("candle", json!({ "architecture": { "type": "parallel-pooling" } }));
}
