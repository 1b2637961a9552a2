//! Hidden states of every layer, and what models answer themselves, against `transformers`.

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::fixture::{Family, Projections};
use mobillm_bundle::{ImportOptions, import};
use mobillm_core::backbone::{
    BackboneConfig, BackboneContext, ForwardContext, Pooling, Tap, TokenBatch,
};
use ndarray::s;
use serde::Deserialize;

use crate::setup;

/// Distance relative to the norm.
const TOLERANCE: f64 = 1e-4;

#[test]
fn every_layer_of_every_family_agrees_with_transformers() {
    let folder = tempfile::tempdir().unwrap();
    for family in Family::all() {
        let out = folder.path().join(&family.name);
        let bundle = family.bundle(&out, &ImportOptions::default()).unwrap();
        bundle.verify().unwrap();
        let taps: Vec<usize> = (0..=bundle.info().layers).collect();
        let label_tokens = family.label_tokens.clone();
        let context = BackboneContext { label_tokens, ..setup::context(&bundle, &taps) };
        let mut backbone = OnnxBackboneConfig::default().build(&context).unwrap();
        let distance = family.distance(&bundle, &mut *backbone).unwrap();
        assert!(distance < TOLERANCE, "{}: off by {distance:.1e}", family.name);
        println!("{}: largest relative distance {distance:.1e}", family.name);
    }
}

/// `golden/minilm.py` makes the figures and says what they are.
#[derive(Deserialize)]
struct Golden {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    text: String,
    pair: Option<String>,
    ids: Vec<u32>,
    segments: Vec<u32>,
    layers: Vec<Projections>,
}

#[test]
fn every_layer_of_minilm_agrees_with_transformers() {
    let golden: Golden = serde_json::from_str(include_str!("../../golden/minilm.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = setup::fixture("all-minilm-l6-v2");
    let out = folder.path().join("bundle");
    let bundle = import(&model, &out, &ImportOptions::default()).unwrap();
    let info = bundle.info();
    assert_eq!((info.layers, info.hidden, info.vocabulary), (6, 384, 30522));
    assert_eq!((info.pooling, info.max_tokens), (Pooling::Mean, 256));

    let tokenizer = bundle.tokenizer(None).unwrap();
    let tokens = golden.samples.iter().map(|sample| {
        let tokens = tokenizer.encode(&sample.text, sample.pair.as_deref()).unwrap().tokens;
        assert_eq!((&tokens.ids, &tokens.segments), (&sample.ids, &sample.segments));
        tokens
    });
    let tokens: Vec<_> = tokens.collect();
    let batch = TokenBatch::new(&tokens, bundle.padding());

    let mut worst: f64 = 0.0;
    let mut sink = |tap: Tap<'_>| {
        for (row, sample) in golden.samples.iter().enumerate() {
            let hidden = tap.hidden.slice(s![row, ..tap.lengths[row], ..]);
            worst = worst.max(sample.layers[tap.layer].distance(hidden));
        }
        Ok(())
    };
    let layers: Vec<usize> = (0..=6).collect();
    let mut backbone = setup::build(&bundle, &layers);
    backbone.forward(&batch, &ForwardContext::default(), &mut sink).unwrap();
    assert!(worst < TOLERANCE, "off by {worst:.1e}");
    println!("largest relative distance: {worst:.1e}");
}
