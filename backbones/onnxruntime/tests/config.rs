//! The config twin: what it takes, and what it says about mistakes.

use std::fs;

use mobillm_backbone_onnxruntime::{OnnxBackboneConfig, register};
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::{BackboneConfig, BackboneError};
use mobillm_core::registry::{Registry, Slot};
use serde_json::json;

mod common;

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
fn impossible_threads_are_found_before_anything_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let findings =
        |threads| OnnxBackboneConfig { threads, library: None }.check(bundle.info()).len();
    assert_eq!([None, Some(1), Some(1024)].map(findings), [0; 3]);
    assert_eq!([Some(0), Some(1025)].map(findings), [1; 2]);
}

#[test]
fn a_damaged_bundle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let refused = |problem: &str| {
        let built = OnnxBackboneConfig::default().build(&common::context(&bundle, &[0]));
        let error = built.err().unwrap();
        assert!(matches!(&error, BackboneError::Bundle { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    };
    let graph = fs::read(bundle.graph_path()).unwrap();
    fs::write(bundle.graph_path(), vec![0xff; graph.len()]).unwrap();
    refused("model.onnx");
    fs::write(bundle.graph_path(), graph).unwrap();
    fs::write(bundle.weights_path(), "").unwrap();
    refused("bytes, got 0");
    fs::remove_file(bundle.weights_path()).unwrap();
    refused("no such file");
}
