//! The laws of the backbone slot, held against small models of random weights.

use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_weights::WeightFormat;

use crate::setup;

/// Small, for this crate is not optimized in tests.
fn tiny() -> TinyBert {
    TinyBert { max_tokens: 12, ..TinyBert::default() }
}

#[test]
fn they_hold_for_an_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = tiny().bundle(&folder.path().join("bundle")).unwrap();
    mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps, &[]));
}

#[test]
fn they_hold_for_an_encoder_with_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = TinyBert { prefix: "bert.".to_owned(), head: Some(3), ..tiny() };
    let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
    mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps, &[]));
}

#[test]
fn they_hold_for_other_activations_and_one_head() {
    let folder = tempfile::tempdir().unwrap();
    for activation in ["relu", "gelu_new", "silu"] {
        let tiny = TinyBert { activation: activation.to_owned(), heads: 1, ..tiny() };
        let bundle = tiny.bundle(&folder.path().join(activation)).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps, &[]));
    }
}

fn they_hold_for_a_decoder(weights: WeightFormat) {
    let folder = tempfile::tempdir().unwrap();
    let tiny = TinyDecoder {
        heads: 2,
        hidden: 32,
        inner: 32,
        max_tokens: 12,
        weights,
        ..TinyDecoder::default()
    };
    let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
    for label_tokens in [&[][..], &[3, 9]] {
        mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps, label_tokens));
    }
}

#[test]
fn they_hold_for_a_decoder_in_f32() {
    they_hold_for_a_decoder(WeightFormat::F32);
}

#[test]
fn they_hold_for_a_decoder_in_f16() {
    they_hold_for_a_decoder(WeightFormat::F16);
}

#[test]
fn they_hold_for_a_decoder_in_q8() {
    they_hold_for_a_decoder(WeightFormat::Q8);
}

#[test]
fn they_hold_for_a_decoder_in_q4() {
    they_hold_for_a_decoder(WeightFormat::Q4);
}

#[test]
fn they_hold_for_a_decoder_in_int8() {
    they_hold_for_a_decoder(WeightFormat::Int8);
}
