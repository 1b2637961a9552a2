//! The same bundle in candle and in ONNX Runtime: the same taps, the same own prediction.

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::fixture::{Family, TinyDecoder};
use mobillm_bundle::{Bundle, ImportOptions};
use mobillm_core::backbone::{Backbone, BackboneConfig, NativeLibraries, TokenBatch, Tokens};
use mobillm_weights::WeightFormat;
use ndarray::{Array, Dimension};

use crate::setup;

/// Distance of two hidden states, relative to the norm.
const TOLERANCE: f64 = 1e-3;

fn onnxruntime(bundle: &Bundle, taps: &[usize], label_tokens: &[u32]) -> Box<dyn Backbone> {
    let cache = mobillm_pull::Cache::user().unwrap();
    let library = mobillm_pull::pull(&cache, "onnxruntime", &mut |_| {}).unwrap();
    let mut context = setup::context(bundle, taps, label_tokens);
    context.libraries = NativeLibraries([("onnxruntime".to_owned(), library)].into());
    OnnxBackboneConfig { threads: Some(2), ..OnnxBackboneConfig::default() }
        .build(&context)
        .unwrap()
}

/// Samples of one token, of as many as the model takes, and of some between, one of two texts.
fn batch(bundle: &Bundle) -> TokenBatch {
    let info = bundle.info();
    let has_pairs = bundle.network().unwrap().embedding.segments > 1;
    let sample = |(row, length): (usize, usize)| Tokens {
        ids: (0..length)
            .map(|at| ((at * at + 3 * at + 5 * row) % info.vocabulary) as u32)
            .collect(),
        segments: (0..length)
            .map(|at| u32::from(has_pairs && row == 2 && at > length / 2))
            .collect(),
    };
    let samples: Vec<Tokens> =
        [7, 1, info.max_tokens, 3, 12].into_iter().enumerate().map(sample).collect();
    TokenBatch::new(&samples, bundle.padding())
}

fn distance<D: Dimension>(got: &Array<f32, D>, expected: &Array<f32, D>) -> f64 {
    assert_eq!(got.shape(), expected.shape());
    let norm = |values: &Array<f32, D>| {
        values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    norm(&(got - expected)) / norm(expected)
}

#[track_caller]
fn agree(bundle: &Bundle, label_tokens: &[u32]) {
    let taps: Vec<usize> = (0..=bundle.info().layers).collect();
    let batch = batch(bundle);
    let got = setup::forward(&mut *setup::build(bundle, &taps, label_tokens), &batch);
    let expected = setup::forward(&mut *onnxruntime(bundle, &taps, label_tokens), &batch);
    for (layer, (got, expected)) in got.0.iter().zip(&expected.0).enumerate() {
        let distance = distance(got, expected);
        assert!(distance < TOLERANCE, "tap {layer} is off by {distance:.1e}");
    }
    assert_eq!((got.0.len(), got.1.is_some()), (expected.0.len(), expected.1.is_some()));
    for (got, expected) in got.1.iter().zip(&expected.1) {
        let distance = distance(got, expected);
        assert!(distance < TOLERANCE, "the own prediction is off by {distance:.1e}");
    }
}

#[test]
fn every_family_agrees_in_every_weight_format() {
    let folder = tempfile::tempdir().unwrap();
    for family in Family::all() {
        for weights in WeightFormat::ALL {
            let out = folder.path().join(format!("{}-{weights}", family.name));
            let options = ImportOptions { weights: Some(weights), ..ImportOptions::default() };
            let bundle = family.bundle(&out, &options).unwrap();
            println!("{} in {weights}", family.name);
            agree(&bundle, &family.label_tokens);
        }
    }
}

#[test]
fn decoders_agree_in_every_weight_format() {
    let folder = tempfile::tempdir().unwrap();
    for weights in WeightFormat::ALL {
        for tied in [true, false] {
            let tiny = TinyDecoder { weights, tied, ..TinyDecoder::default() };
            let bundle = tiny.bundle(&folder.path().join(format!("{weights}-{tied}"))).unwrap();
            agree(&bundle, &[]);
            agree(&bundle, &[3, 9, 20]);
        }
    }
}
