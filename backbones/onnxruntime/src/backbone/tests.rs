use std::panic::{AssertUnwindSafe, catch_unwind};

use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_core::backbone::Tokens;
use ndarray::Array3;

use super::*;
use crate::library;
use crate::provider::Provider;

fn engine_of(way: Way) -> Engine {
    let cache = mobillm_pull::Cache::user().unwrap();
    let library = mobillm_pull::pull(&cache, "onnxruntime", &mut |_| {}).unwrap();
    let environment = library::load(&library).unwrap();
    let providers = vec![Provider::Cpu];
    Engine { environment, threads: 1, providers, way, arena: true, memory_limit_mb: None }
}

fn batch() -> TokenBatch {
    let tokens = |ids: Vec<u32>| Tokens { segments: vec![0; ids.len()], ids };
    TokenBatch::new(&[tokens(vec![2, 5, 6, 3]), tokens(vec![2, 7, 3])], 0)
}

/// Layers and hidden states in the order in which they came, and the own prediction.
fn forward(backbone: &mut OnnxBackbone) -> (Vec<(usize, Array3<f32>)>, OwnPrediction) {
    let mut taps = Vec::new();
    let mut sink = |tap: Tap<'_>| {
        taps.push((tap.layer, tap.hidden.to_owned()));
        Ok(())
    };
    let own = backbone.forward(&batch(), &ForwardContext::default(), &mut sink).unwrap();
    (taps, own)
}

/// What Core ML and its like get.
#[test]
fn taps_that_are_outputs_are_those_that_stream() {
    let folder = tempfile::tempdir().unwrap();
    let bert = TinyBert::with_head(3).bundle(&folder.path().join("bert")).unwrap();
    let decoder = TinyDecoder::default().bundle(&folder.path().join("decoder")).unwrap();
    for (bundle, labels) in [(bert, &[][..]), (decoder, &[7, 9])] {
        let open = |taps: &[usize], way| {
            OnnxBackbone::open(&bundle, taps, labels, &engine_of(way)).unwrap()
        };
        for taps in [&[0, 1, 3][..], &[2]] {
            let streamed = forward(&mut open(taps, Way::Operators));
            assert_eq!(forward(&mut open(taps, Way::Outputs)), streamed);
            assert!(streamed.1.is_some());
        }
    }
}

#[test]
fn a_sink_that_refuses_or_panics_ends_a_run_with_outputs_too() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let mut backbone =
        OnnxBackbone::open(&bundle, &[0, 2, 3], &[], &engine_of(Way::Outputs)).unwrap();
    let mut sink = |tap: Tap<'_>| if tap.layer == 2 { Err("full".into()) } else { Ok(()) };
    let error = backbone.forward(&batch(), &ForwardContext::default(), &mut sink).unwrap_err();
    assert!(matches!(error, BackboneError::Sink { layer: 2, .. }), "{error}");
    let mut sink = |_: Tap<'_>| resume_unwind(Box::new("from the sink"));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        backbone.forward(&batch(), &ForwardContext::default(), &mut sink)
    }));
    assert!(panic.is_err());
    assert_eq!(forward(&mut backbone).0.len(), 3);
}

#[test]
fn what_a_graph_may_ask_for_is_known() {
    for input in Input::ALL {
        assert_eq!(Input::named(input.name()), Ok(input));
    }
    let problem = Input::named("past.0").unwrap_err();
    assert!(problem.contains("`past.0`") && problem.contains("last_tokens"), "{problem}");
}
