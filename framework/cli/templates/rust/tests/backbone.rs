//! The laws of backbones, one test each.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use mobillm_core::backbone::{Backbone, BackboneConfig, BackboneContext, NativeLibraries};
use plugin_ident::PluginTypeConfig;

/// What a bundle's manifest says of a small model.
const MODEL: &str = r#"{ "model": {
    "architecture": "tiny", "layers": 4, "hidden": 16, "max_tokens": 32, "vocabulary": 100,
    "pooling": "mean", "own_outputs": null,
    "bundle": "0000000000000000000000000000000000000000000000000000000000000000"
} }"#;

/// A folder with that manifest, which is all that this backbone reads of a bundle.
fn bundle() -> PathBuf {
    static BUNDLE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = BUNDLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest.json"), MODEL).unwrap();
        folder
    });
    folder.path().to_owned()
}

fn build(taps: &[usize]) -> Box<dyn Backbone> {
    let context = BackboneContext {
        bundle: bundle(),
        taps: taps.to_vec(),
        label_tokens: Vec::new(),
        libraries: NativeLibraries::default(),
    };
    PluginTypeConfig::default().build(&context).unwrap()
}

mobillm_testkit::backbone_conformance!(build);
