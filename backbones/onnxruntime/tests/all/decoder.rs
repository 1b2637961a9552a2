//! Decoders: their weights in every format, and what they answer with words.

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::fixture::TinyDecoder;
use mobillm_bundle::{Bundle, WeightFormat};
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, ForwardContext, Tap, TokenBatch, Tokens,
};
use ndarray::{Array1, Array2, Array3, s};

use crate::setup;

const LABELS: [u32; 3] = [12, 40, 7];

/// Large enough that its layers take longer than its embedding.
fn tiny(weights: WeightFormat) -> TinyDecoder {
    TinyDecoder { weights, ..TinyDecoder::default() }
}

fn build(bundle: &Bundle, taps: &[usize], label_tokens: &[u32]) -> Box<dyn Backbone> {
    let config = OnnxBackboneConfig { threads: Some(2), ..OnnxBackboneConfig::default() };
    let label_tokens = label_tokens.to_vec();
    config.build(&BackboneContext { label_tokens, ..setup::context(bundle, taps) }).unwrap()
}

fn samples() -> Vec<Tokens> {
    let sample = |length: usize, row: usize| Tokens {
        ids: (0..length).map(|at| ((at * at + 3 * at + 5 * row) % 47) as u32).collect(),
        segments: vec![0; length],
    };
    [7, 1, 48, 3, 12].iter().zip(0..).map(|(&length, row)| sample(length, row)).collect()
}

/// The last tap and the own prediction of `samples`.
fn forward(backbone: &mut dyn Backbone, samples: &[Tokens]) -> (Array3<f32>, Option<Array2<f32>>) {
    let mut last = None;
    let mut sink = |tap: Tap<'_>| {
        last = Some(tap.hidden.to_owned());
        Ok(())
    };
    let batch = TokenBatch::new(samples, 0);
    let own = backbone.forward(&batch, &ForwardContext::default(), &mut sink).unwrap();
    (last.unwrap(), own)
}

#[test]
fn the_laws_hold_in_every_weight_format() {
    let folder = tempfile::tempdir().unwrap();
    for weights in WeightFormat::ALL {
        let short = TinyDecoder { max_tokens: 24, ..tiny(weights) };
        let bundle = short.bundle(&folder.path().join(weights.to_string())).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| build(&bundle, taps, &LABELS));
    }
}

/// Sums of integers are exact and those of floats have an order that the row alone decides.
#[test]
fn in_int8_batch_mates_do_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = tiny(WeightFormat::Int8).bundle(&folder.path().join("bundle")).unwrap();
    let mut backbone = build(&bundle, &[3], &LABELS);
    let (together, _) = forward(&mut *backbone, &samples());
    for (row, sample) in samples().iter().enumerate() {
        let (alone, _) = forward(&mut *backbone, std::slice::from_ref(sample));
        assert_eq!(together.slice(s![row..=row, ..sample.ids.len(), ..]), alone);
    }
}

/// 4 and 8 bits lose little beside the hidden state itself.
#[test]
fn weight_formats_are_near_f32() {
    let folder = tempfile::tempdir().unwrap();
    let last = |weights: WeightFormat| {
        let bundle = tiny(weights).bundle(&folder.path().join(weights.to_string())).unwrap();
        let longest = &samples()[2..3];
        forward(&mut *build(&bundle, &[3], &[]), longest).0
    };
    let exact = last(WeightFormat::F32);
    let distance = |weights| {
        let squares = |array: Array3<f32>| array.iter().map(|x| x * x).sum::<f32>();
        (squares(last(weights) - &exact) / squares(exact.clone())).sqrt()
    };
    let bounds = [
        (WeightFormat::F16, 1e-3),
        (WeightFormat::Q8, 0.03),
        (WeightFormat::Int8, 0.05),
        (WeightFormat::Q4, 0.3),
    ];
    for (weights, bound) in bounds {
        let distance = distance(weights);
        println!("{weights}: {distance:.1e}");
        assert!(distance > 0.0 && distance < bound, "{weights}: off by {distance}");
    }
}

/// The answer is the norm of the last token's last hidden state times the words' rows of the head.
#[test]
fn it_answers_with_the_scores_of_the_label_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for tied in [true, false] {
        let tiny = TinyDecoder { tied, ..tiny(WeightFormat::F32) };
        let bundle = tiny.bundle(&folder.path().join(tied.to_string())).unwrap();
        let mut backbone = build(&bundle, &[3], &LABELS);
        assert_eq!(backbone.info().own_outputs, Some(LABELS.len()));
        let (last, own) = forward(&mut *backbone, &samples());
        let weight =
            Array1::from(bundle.weights().unwrap().vector("norm.weight").unwrap().to_vec());
        let rows = bundle.label_rows(&LABELS).unwrap();
        for (sample, (tokens, own)) in samples().iter().zip(own.unwrap().rows()).enumerate() {
            let state = last.slice(s![sample, tokens.ids.len() - 1, ..]);
            let mean_square = state.mapv(|x| x * x).mean().unwrap();
            let normed = &state * &weight / (mean_square + 1e-5).sqrt();
            let expected = rows.dot(&normed);
            let distance = (&own - &expected).mapv(f32::abs).sum() / expected.mapv(f32::abs).sum();
            assert!(distance < 1e-4, "{own} for {expected}");
        }
        let mut silent = build(&bundle, &[3], &[]);
        assert_eq!(silent.info().own_outputs, None);
        assert!(silent.info().language_head);
        assert_eq!(forward(&mut *silent, &samples()), (last, None));
    }
}

#[test]
fn label_tokens_that_nobody_can_score_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let decoder = tiny(WeightFormat::F32).bundle(&folder.path().join("decoder")).unwrap();
    let bert = mobillm_bundle::fixture::TinyBert::with_head(2);
    let bert = bert.bundle(&folder.path().join("bert")).unwrap();
    let outside = TinyDecoder::VOCABULARY as u32;
    for (bundle, label_tokens, part) in
        [(&decoder, vec![3, outside], format!("{outside}")), (&bert, vec![3], "head".to_owned())]
    {
        let context = BackboneContext { label_tokens, ..setup::context(bundle, &[1]) };
        let error = OnnxBackboneConfig::default().build(&context).err().unwrap().to_string();
        assert!(error.contains(&part), "{error}");
    }
}
