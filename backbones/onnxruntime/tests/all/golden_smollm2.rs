//! SmolLM2-135M-Instruct from its GGUF file in 4 bit against `transformers` in f32: token ids, hidden
//! states of every layer, logits, and what it says.
//!
//! `golden/smollm2.py` makes the figures and says what they are.

use std::path::Path;

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::fixture::Projections;
use mobillm_bundle::{Bundle, BundleTokenizer, ImportOptions, WeightFormat, import};
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, ForwardContext, Pooling, Tap, TokenBatch, Tokens,
};
use ndarray::{Array2, s};
use serde::Deserialize;

use crate::setup;

/// Distance of hidden states and logits, relative to their norms.
const TOLERANCE: f64 = 1e-3;
const VOCABULARY: u32 = 49_152;

#[derive(Deserialize)]
struct Golden {
    samples: Vec<Sample>,
    prompts: Vec<Prompt>,
    tricky: Vec<Tricky>,
}

#[derive(Deserialize)]
struct Sample {
    text: String,
    ids: Vec<u32>,
    /// The five largest: token and value.
    logits: Vec<(u32, f64)>,
    layers: Vec<Projections>,
}

#[derive(Deserialize)]
struct Prompt {
    text: String,
    new: Vec<u32>,
    continuation: String,
}

#[derive(Deserialize)]
struct Tricky {
    text: String,
    ids: Vec<u32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../golden/smollm2.json")).unwrap()
}

fn bundle(out: &Path) -> Bundle {
    let model = setup::fixture("smollm2-135m-instruct");
    import(&model, out, &ImportOptions::default()).unwrap()
}

/// A backbone that answers with the logits of all tokens.
fn build(bundle: &Bundle, taps: &[usize]) -> Box<dyn Backbone> {
    let label_tokens = (0..VOCABULARY).collect();
    let context = BackboneContext { label_tokens, ..setup::context(bundle, taps) };
    let config = OnnxBackboneConfig { threads: Some(2), ..OnnxBackboneConfig::default() };
    config.build(&context).unwrap()
}

fn encode(tokenizer: &BundleTokenizer, text: &str) -> Tokens {
    tokenizer.encode(text, None).unwrap().tokens
}

/// Logits of the token after each text, `[texts, VOCABULARY]`.
fn logits(
    backbone: &mut dyn Backbone,
    bundle: &Bundle,
    texts: &[Tokens],
    mut sink: impl FnMut(Tap<'_>),
) -> Array2<f32> {
    let batch = TokenBatch::new(texts, bundle.padding());
    let mut sink = |tap: Tap<'_>| {
        sink(tap);
        Ok(())
    };
    backbone.forward(&batch, &ForwardContext::default(), &mut sink).unwrap().unwrap()
}

fn agrees_with_transformers(bundle: &Bundle, golden: &Golden) {
    let tokenizer = bundle.tokenizer(None).unwrap();
    let tokens = golden.samples.iter().map(|sample| encode(&tokenizer, &sample.text));
    let tokens: Vec<Tokens> = tokens.collect();
    let layers: Vec<usize> = (0..=bundle.info().layers).collect();
    let (mut taps, mut worst) = (0, 0.0_f64);
    let logits = logits(&mut *build(bundle, &layers), bundle, &tokens, |tap| {
        for (row, sample) in golden.samples.iter().enumerate() {
            let hidden = tap.hidden.slice(s![row, ..tap.lengths[row], ..]);
            worst = worst.max(sample.layers[tap.layer].distance(hidden));
        }
        taps += 1;
    });
    assert_eq!(taps, 31);
    println!("largest relative distance of a hidden state: {worst:.1e}");
    assert!(worst < TOLERANCE, "hidden states are off by {worst:.1e}");

    let mut worst = 0.0_f64;
    for (row, sample) in golden.samples.iter().enumerate() {
        assert_eq!(tokens[row].ids, sample.ids, "{:?}", sample.text);
        for &(token, expected) in &sample.logits {
            let got = f64::from(logits[[row, token as usize]]);
            worst = worst.max((got / expected - 1.0).abs());
        }
    }
    println!("largest relative distance of a logit: {worst:.1e}");
    assert!(worst < TOLERANCE, "logits are off by {worst:.1e}");
}

fn speaks(bundle: &Bundle, golden: &Golden) {
    let tokenizer = bundle.tokenizer(None).unwrap();
    let mut backbone = build(bundle, &[0]);
    for prompt in &golden.prompts {
        let mut tokens = encode(&tokenizer, &prompt.text);
        let start = tokens.ids.len();
        for _ in &prompt.new {
            let logits = logits(&mut *backbone, bundle, &[tokens.clone()], |_| ());
            let next = (0..VOCABULARY)
                .max_by(|&a, &b| logits[[0, a as usize]].total_cmp(&logits[[0, b as usize]]));
            tokens.ids.push(next.unwrap());
            tokens.segments.push(0);
        }
        assert_eq!(tokens.ids[start..], prompt.new, "{:?}", prompt.text);
        let continued = format!("{}{}", prompt.text, prompt.continuation);
        assert_eq!(encode(&tokenizer, &continued).ids, tokens.ids);
    }
}

#[test]
fn it_computes_and_says_what_it_does_in_transformers() {
    let golden = golden();
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(&folder.path().join("bundle"));
    bundle.verify().unwrap();
    let info = bundle.info();
    assert_eq!((info.layers, info.hidden, info.vocabulary), (30, 576, VOCABULARY as usize));
    assert_eq!((info.pooling, info.max_tokens), (Pooling::LastToken, 8192));
    assert!(info.language_head);
    assert_eq!(bundle.weight_format(), WeightFormat::Q4);

    let tokenizer = bundle.tokenizer(None).unwrap();
    for Tricky { text, ids } in &golden.tricky {
        assert_eq!(&encode(&tokenizer, text).ids, ids, "{text:?}");
    }
    agrees_with_transformers(&bundle, &golden);
    speaks(&bundle, &golden);
}
