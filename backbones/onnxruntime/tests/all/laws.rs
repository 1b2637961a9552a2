//! The laws of the backbone slot, held against small models of random weights.

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::{ImportOptions, WeightFormat, import};

use crate::setup;

/// Large enough that its layers take longer than its embedding.
fn tiny() -> TinyBert {
    TinyBert { hidden: 64, heads: 4, intermediate: 256, max_tokens: 64, ..TinyBert::default() }
}

#[test]
fn the_laws_hold() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = tiny().bundle(&folder.path().join("bundle")).unwrap();
    mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps));
}

#[test]
fn the_laws_hold_with_a_head() {
    let folder = tempfile::tempdir().unwrap();
    for outputs in [1, 3] {
        let tiny = TinyBert { prefix: "bert.".to_owned(), head: Some(outputs), ..tiny() };
        let bundle = tiny.bundle(&folder.path().join(outputs.to_string())).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps));
    }
}

#[test]
fn the_laws_hold_for_other_activations_and_one_head() {
    let folder = tempfile::tempdir().unwrap();
    for activation in ["relu", "gelu_new"] {
        let tiny = TinyBert { activation: activation.to_owned(), heads: 1, ..tiny() };
        let bundle = tiny.bundle(&folder.path().join(activation)).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps));
    }
}

/// Those of decoders are in decoder.rs.
#[test]
fn the_laws_hold_for_an_encoder_in_every_weight_format() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let prefix = "bert.".to_owned();
    let short = TinyBert { prefix, head: Some(2), intermediate: 128, max_tokens: 24, ..tiny() };
    short.write(&model).unwrap();
    for weights in [WeightFormat::F16, WeightFormat::Q8, WeightFormat::Q4, WeightFormat::Int8] {
        let options = ImportOptions { weights: Some(weights), ..ImportOptions::default() };
        let out = folder.path().join(weights.to_string());
        let bundle = import(&model, &out, &options).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps));
    }
}
