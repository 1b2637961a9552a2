//! Hidden states of every layer of all-MiniLM-L6-v2 against those of `transformers`.
//!
//! `golden/minilm.py` makes the figures and says what they are.

use mobillm_bundle::import;
use mobillm_core::backbone::{ForwardContext, Pooling, Tap, TokenBatch};
use ndarray::{ArrayView2, s};
use serde::Deserialize;

mod common;

const PROJECTIONS: usize = 16;
/// Distance of two hidden states, relative to the norm.
const TOLERANCE: f64 = 1e-4;

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
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    norm: f64,
    projections: [f64; PROJECTIONS],
}

/// The projections of a hidden state `[tokens, hidden]`.
fn project(hidden: ArrayView2<'_, f32>) -> [f64; PROJECTIONS] {
    let mut projections = [0.0; PROJECTIONS];
    for (&value, index) in hidden.iter().zip(1_u64..) {
        let mut bits = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        for (k, projection) in projections.iter_mut().enumerate() {
            let value = f64::from(value);
            *projection += if bits >> k & 1 == 1 { value } else { -value };
        }
    }
    projections
}

#[test]
fn every_layer_agrees_with_transformers() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/minilm.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = common::fixture("all-minilm-l6-v2");
    let bundle = import(&model, &folder.path().join("bundle")).unwrap();
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
            let expected = &sample.layers[tap.layer];
            let norm = hidden.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            let pairs = project(hidden).into_iter().zip(expected.projections);
            let squares = pairs.map(|(got, expected)| (got - expected).powi(2)).sum::<f64>();
            let distance = (squares / PROJECTIONS as f64).sqrt();
            worst = worst.max(distance / expected.norm).max((norm / expected.norm - 1.0).abs());
        }
        Ok(())
    };
    let layers: Vec<usize> = (0..=6).collect();
    let mut backbone = common::build(&bundle, &layers);
    backbone.forward(&batch, &ForwardContext::default(), &mut sink).unwrap();
    assert!(worst < TOLERANCE, "off by {worst:.1e}");
    println!("largest relative distance: {worst:.1e}");
}
