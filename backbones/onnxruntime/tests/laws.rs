//! The laws of the backbone slot, held against small models of random weights.

use mobillm_bundle::fixture::TinyBert;

mod common;

/// Large enough that its layers take longer than its embedding.
fn tiny() -> TinyBert {
    TinyBert { hidden: 64, heads: 4, intermediate: 256, max_tokens: 64, ..TinyBert::default() }
}

#[test]
fn the_laws_hold() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = tiny().bundle(&folder.path().join("bundle")).unwrap();
    mobillm_testkit::backbone::conformance(&|taps| common::build(&bundle, taps));
}

#[test]
fn the_laws_hold_with_a_head() {
    let folder = tempfile::tempdir().unwrap();
    for outputs in [1, 3] {
        let tiny = TinyBert { prefix: "bert.".to_owned(), head: Some(outputs), ..tiny() };
        let bundle = tiny.bundle(&folder.path().join(outputs.to_string())).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| common::build(&bundle, taps));
    }
}

#[test]
fn the_laws_hold_for_other_activations_and_one_head() {
    let folder = tempfile::tempdir().unwrap();
    for activation in ["relu", "gelu_new"] {
        let tiny = TinyBert { activation: activation.to_owned(), heads: 1, ..tiny() };
        let bundle = tiny.bundle(&folder.path().join(activation)).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| common::build(&bundle, taps));
    }
}
