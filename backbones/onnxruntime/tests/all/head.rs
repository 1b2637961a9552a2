//! The model's own prediction: what its task head makes of the last hidden state. That it depends on
//! neither taps nor batch mates is among the laws (laws.rs).

use std::fs;

use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::{ForwardContext, Tap, TokenBatch, Tokens};
use ndarray::{Array1, Array2, ArrayD, Ix1, Ix2, s};
use serde::Deserialize;

use crate::setup;

/// Distance of two predictions, relative to the norm.
const TOLERANCE: f64 = 1e-5;

fn tiny(outputs: usize) -> TinyBert {
    TinyBert {
        hidden: 64,
        heads: 4,
        intermediate: 256,
        max_tokens: 64,
        ..TinyBert::with_head(outputs)
    }
}

/// Samples of one token to as many as the model takes, one of them of two texts.
fn samples() -> Vec<Tokens> {
    let sample = |length: usize, row: usize| Tokens {
        ids: (0..length).map(|at| ((at * at + 3 * at + 5 * row) % 17) as u32).collect(),
        segments: (0..length).map(|at| u32::from(row == 2 && at > length / 2)).collect(),
    };
    [7, 1, 64, 3, 12].iter().zip(0..).map(|(&length, row)| sample(length, row)).collect()
}

/// The own prediction of the samples and each one's last hidden state of the first token.
fn forward(bundle: &Bundle) -> (Array2<f32>, Array2<f32>) {
    let mut first = None;
    let mut sink = |tap: Tap<'_>| {
        first = Some(tap.hidden.slice(s![.., 0, ..]).to_owned());
        Ok(())
    };
    let mut backbone = setup::build(bundle, &[bundle.info().layers]);
    let batch = TokenBatch::new(&samples(), bundle.padding());
    let own = backbone.forward(&batch, &ForwardContext::default(), &mut sink).unwrap();
    (own.unwrap(), first.unwrap())
}

#[track_caller]
fn assert_close(got: &Array2<f32>, expected: &Array2<f64>) {
    assert_eq!(got.dim(), expected.dim());
    let norm = expected.iter().map(|value| value * value).sum::<f64>().sqrt();
    let squares = got.iter().zip(expected).map(|(&got, want)| (f64::from(got) - want).powi(2));
    let distance = squares.sum::<f64>().sqrt();
    assert!(distance <= TOLERANCE * norm, "off by {:.1e}", distance / norm);
}

/// The affine map `name` of the checkpoint.
fn linear(tiny: &TinyBert, name: &str) -> (Array2<f64>, Array1<f64>) {
    let tensors = tiny.tensors();
    let tensor = |part: &str| {
        let (shape, bytes) = &tensors[&format!("{name}.{part}")];
        let values = bytes.as_chunks().0.iter().map(|&value| f64::from(f32::from_le_bytes(value)));
        ArrayD::from_shape_vec(shape.clone(), values.collect()).unwrap()
    };
    let weight = tensor("weight").into_dimensionality::<Ix2>().unwrap();
    (weight, tensor("bias").into_dimensionality::<Ix1>().unwrap())
}

#[test]
fn it_is_the_head_over_the_first_tokens_last_hidden_state() {
    let folder = tempfile::tempdir().unwrap();
    for outputs in [1, 2, 5] {
        let tiny = tiny(outputs);
        let bundle = tiny.bundle(&folder.path().join(outputs.to_string())).unwrap();
        let (own, first) = forward(&bundle);
        let (pooler, classifier) =
            (linear(&tiny, "bert.pooler.dense"), linear(&tiny, "classifier"));
        let pooled = (first.mapv(f64::from).dot(&pooler.0.t()) + pooler.1).mapv(f64::tanh);
        assert_close(&own, &(pooled.dot(&classifier.0.t()) + classifier.1));
    }
}

#[test]
fn a_manifest_that_claims_another_head_is_refused() {
    use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
    use mobillm_core::backbone::BackboneConfig;

    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let mut manifest = bundle.manifest().clone();
    // As of a graph that somebody else exported: only the graph itself can contradict.
    manifest.network = None;
    manifest.model.own_outputs = Some(2);
    manifest.model.bundle = manifest.fingerprint();
    let path = bundle.path().join("manifest.json");
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let built = OnnxBackboneConfig::default().build(&setup::context(&bundle, &[1]));
    let error = built.err().unwrap().to_string();
    assert!(error.contains("model.onnx") && error.contains("own_prediction [batch, 2]"), "{error}");
}

#[derive(Deserialize)]
struct Golden {
    logits: Vec<Vec<f64>>,
}

/// `golden/head.py` makes the logits of these samples with `transformers`, from the same weights.
#[test]
fn it_agrees_with_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let golden: [Golden; 2] = serde_json::from_str(include_str!("../../golden/head.json")).unwrap();
    for Golden { logits } in golden {
        let outputs = logits[0].len();
        let bundle = tiny(outputs).bundle(&folder.path().join(outputs.to_string())).unwrap();
        let shape = (logits.len(), outputs);
        let expected = Array2::from_shape_vec(shape, logits.concat()).unwrap();
        assert_close(&forward(&bundle).0, &expected);
    }
}
