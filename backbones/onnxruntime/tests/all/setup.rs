//! What the tests need from elsewhere: ONNX Runtime and the model, as `mobillm pull` fetches them.

use std::path::PathBuf;

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::Bundle;
use mobillm_core::backbone::{Backbone, BackboneConfig, BackboneContext, NativeLibraries};
use mobillm_pull::{Cache, pull};

/// The path of `item` in the user's cache; it is downloaded if it is not there.
pub fn fixture(item: &str) -> PathBuf {
    pull(&Cache::user().unwrap(), item, &mut |_| {}).unwrap()
}

/// A context for `bundle` on this machine.
pub fn context(bundle: &Bundle, taps: &[usize]) -> BackboneContext {
    let libraries = [("onnxruntime".to_owned(), fixture("onnxruntime"))];
    BackboneContext {
        bundle: bundle.path().to_owned(),
        taps: taps.to_vec(),
        label_tokens: Vec::new(),
        libraries: NativeLibraries(libraries.into()),
    }
}

/// A backbone over `bundle` with two threads.
pub fn build(bundle: &Bundle, taps: &[usize]) -> Box<dyn Backbone> {
    let config = OnnxBackboneConfig { threads: Some(2), ..OnnxBackboneConfig::default() };
    config.build(&context(bundle, taps)).unwrap()
}
