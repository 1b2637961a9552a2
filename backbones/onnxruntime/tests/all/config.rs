//! The config twin: what it takes, and what it says about mistakes.

use std::fs;

use mobillm_backbone_onnxruntime::{OnnxBackboneConfig, Provider, register};
use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::{BackboneConfig, BackboneError};
use mobillm_core::registry::{Registry, Slot};
use serde_json::json;

use crate::setup;

#[test]
fn it_is_registered_with_its_options() {
    let mut registry = Registry::new();
    register(&mut registry).unwrap();
    assert!(register(&mut registry).is_err());
    let entry = registry.entry(Slot::Backbone, "onnxruntime").unwrap();
    let schema = entry.schema.as_value();
    assert_eq!(schema["properties"]["threads"]["maximum"], json!(1024));
    assert!(schema["properties"]["library"]["description"].is_string());
    let config: Box<dyn BackboneConfig> =
        serde_json::from_value(json!({"type": "onnxruntime", "threads": 2})).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap()["threads"], json!(2));
    let unknown = json!({"type": "onnxruntime", "thread": 2});
    assert!(serde_json::from_value::<Box<dyn BackboneConfig>>(unknown).is_err());
}

#[test]
fn impossible_options_are_found_before_anything_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let findings = |options: serde_json::Value| {
        let config: OnnxBackboneConfig = serde_json::from_value(options).unwrap();
        let findings = config.check(bundle.info());
        findings.into_iter().map(|finding| finding.path).collect::<Vec<_>>()
    };
    for good in [
        json!({}),
        json!({"threads": 1, "memory_limit_mb": 1, "providers": ["cuda", "cpu"]}),
        json!({"threads": 1024, "arena": false, "providers": ["qnn"]}),
    ] {
        assert!(findings(good).is_empty());
    }
    for (bad, at) in [
        (json!({"threads": 0}), "threads"),
        (json!({"threads": 1025}), "threads"),
        (json!({"providers": []}), "providers"),
        (json!({"providers": ["cpu", "coreml", "cpu"]}), "providers"),
        (json!({"memory_limit_mb": 0}), "memory_limit_mb"),
        (json!({"memory_limit_mb": 9, "arena": false}), "memory_limit_mb"),
    ] {
        assert_eq!(findings(bad), [at]);
    }
}

#[test]
fn a_provider_that_the_library_lacks_is_refused_with_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    for (provider, name) in [
        (Provider::Cuda, "cuda"),
        (Provider::CoreMl, "coreml"),
        (Provider::Xnnpack, "xnnpack"),
        (Provider::Dnnl, "dnnl"),
        (Provider::Qnn, "qnn"),
        (Provider::Nnapi, "nnapi"),
    ] {
        let providers = vec![provider, Provider::Cpu];
        let config = OnnxBackboneConfig { providers, ..OnnxBackboneConfig::default() };
        let error = config.build(&setup::context(&bundle, &[0])).err().unwrap();
        assert!(matches!(&error, BackboneError::Library { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("not built with `{name}`; it offers: cpu;")), "{text}");
        assert!(text.contains("`providers`"), "{text}");
    }
}

/// That `bundle` is refused, and that the error says `problem`.
#[track_caller]
fn refused(bundle: &Bundle, taps: &[usize], problem: &str) {
    let error = OnnxBackboneConfig::default().build(&setup::context(bundle, taps)).err().unwrap();
    assert!(matches!(&error, BackboneError::Bundle { .. }), "{error}");
    assert!(error.to_string().contains(problem), "{error}");
}

#[test]
fn taps_that_the_model_does_not_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    refused(&bundle, &[], "no layer");
    refused(&bundle, &[0, 4], "layers 0 to 3");
}

#[test]
fn a_damaged_bundle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let graph = fs::read(bundle.graph_path()).unwrap();
    fs::write(bundle.graph_path(), vec![0xff; graph.len()]).unwrap();
    refused(&bundle, &[0], "model.onnx");
    fs::write(bundle.graph_path(), graph).unwrap();
    fs::write(bundle.weights_path(), "").unwrap();
    refused(&bundle, &[0], "bytes, got 0");
    fs::remove_file(bundle.weights_path()).unwrap();
    refused(&bundle, &[0], "no such file");
}
