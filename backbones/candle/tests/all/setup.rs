//! What the tests share.

use mobillm_backbone_candle::CandleBackboneConfig;
use mobillm_bundle::Bundle;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, ForwardContext, NativeLibraries, OwnPrediction, Tap,
    TokenBatch,
};
use ndarray::Array3;

/// A context for `bundle`.
pub fn context(bundle: &Bundle, taps: &[usize], label_tokens: &[u32]) -> BackboneContext {
    BackboneContext {
        bundle: bundle.path().to_owned(),
        taps: taps.to_vec(),
        label_tokens: label_tokens.to_vec(),
        libraries: NativeLibraries::default(),
    }
}

/// A backbone over `bundle` with two threads.
pub fn build(bundle: &Bundle, taps: &[usize], label_tokens: &[u32]) -> Box<dyn Backbone> {
    let config = CandleBackboneConfig { threads: Some(2) };
    config.build(&context(bundle, taps, label_tokens)).unwrap()
}

/// Every tap of `backbone` with zeros for padding, and its own prediction.
pub fn forward(
    backbone: &mut dyn Backbone,
    batch: &TokenBatch,
) -> (Vec<Array3<f32>>, OwnPrediction) {
    let mut taps = Vec::new();
    let mut sink = |tap: Tap<'_>| {
        let mut hidden = tap.hidden.to_owned();
        for (mut sample, &length) in hidden.outer_iter_mut().zip(tap.lengths) {
            sample.slice_mut(ndarray::s![length.., ..]).fill(0.0);
        }
        taps.push(hidden);
        Ok(())
    };
    let own = backbone.forward(batch, &ForwardContext::default(), &mut sink).unwrap();
    (taps, own)
}
