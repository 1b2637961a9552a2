//! Stand-ins for stages that a test is not about.

use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    OwnPrediction, Pooling, Tap, TapSink, TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::registry::{Plugin, Slot};
use ndarray::{Array3, Axis, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A backbone without weights: embeddings are a hash of the token, and every layer mixes a token
/// with the mean of its sample. Fast, deterministic, and as independent of batch mates as a law asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FakeBackboneConfig {
    /// Layers.
    pub layers: usize,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Makes this layer's output NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nan_layer: Option<usize>,
    /// Milliseconds that every layer takes.
    #[serde(default)]
    pub layer_milliseconds: u64,
}

impl Plugin for FakeBackboneConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "fake";
}

#[typetag::serde(name = "fake")]
impl BackboneConfig for FakeBackboneConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        let expected = (info.layers, info.hidden);
        if (self.layers, self.hidden) == expected {
            return Vec::new();
        }
        vec![Diagnostic::new("layers", format!("the bundle has {expected:?} layers and width"))]
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        Ok(Box::new(FakeBackbone::new(self.clone(), context.taps.clone())))
    }
}

/// See [`FakeBackboneConfig`].
pub struct FakeBackbone {
    config: FakeBackboneConfig,
    taps: Vec<usize>,
    info: BackboneInfo,
}

impl FakeBackbone {
    /// A fake that hands out the layers `taps`.
    pub fn new(config: FakeBackboneConfig, taps: Vec<usize>) -> Self {
        let info = BackboneInfo {
            architecture: "fake".into(),
            layers: config.layers,
            hidden: config.hidden,
            max_tokens: 64,
            vocabulary: 1 << 16,
            pooling: Pooling::Mean,
            own_outputs: None,
            bundle: Fingerprint::of(b"fake"),
        };
        Self { config, taps, info }
    }

    fn embed(&self, batch: &TokenBatch) -> Array3<f32> {
        let (samples, tokens) = batch.ids().dim();
        Array3::from_shape_fn((samples, tokens, self.config.hidden), |(sample, token, column)| {
            unit(batch.ids()[[sample, token]] as u64, column as u64)
        })
    }

    fn mix(hidden: &mut Array3<f32>, lengths: &[usize]) {
        for (sample, &length) in lengths.iter().enumerate() {
            let mut rows = hidden.slice_mut(s![sample, ..length, ..]);
            if let Some(mean) = rows.mean_axis(Axis(0)) {
                rows.zip_mut_with(&mean.insert_axis(Axis(0)), |value, mean| {
                    *value = (1.2 * *value + 0.2 * mean).tanh();
                });
            }
        }
    }
}

impl Backbone for FakeBackbone {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        _: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        check(batch, &self.info)?;
        let mut hidden = self.embed(batch);
        for layer in 0..=self.config.layers {
            if layer > 0 {
                std::thread::sleep(std::time::Duration::from_millis(
                    self.config.layer_milliseconds,
                ));
                Self::mix(&mut hidden, batch.lengths());
            }
            if self.config.nan_layer == Some(layer) {
                hidden.fill(f32::NAN);
            }
            if self.taps.contains(&layer) {
                let tap = Tap { layer, hidden: hidden.view(), lengths: batch.lengths() };
                sink.tap(tap).map_err(|source: BoxError| BackboneError::Sink { layer, source })?;
            }
        }
        Ok(None)
    }
}

fn check(batch: &TokenBatch, info: &BackboneInfo) -> Result<(), BackboneError> {
    let refuse = |sample, problem: String| Err(BackboneError::Batch { sample, problem });
    if batch.samples() == 0 {
        return refuse(0, "the batch is empty; expected at least one sample".into());
    }
    for (sample, &length) in batch.lengths().iter().enumerate() {
        if length == 0 || length > info.max_tokens {
            return refuse(sample, format!("{length} tokens; expected 1 to {}", info.max_tokens));
        }
        let ids = batch.ids();
        let mut ids = ids.row(sample).into_iter().take(length);
        if let Some(id) = ids.find(|&&id| id as usize >= info.vocabulary) {
            return refuse(sample, format!("token {id}; expected less than {}", info.vocabulary));
        }
    }
    Ok(())
}

/// A number in -1..1 that is a hash of two numbers (splitmix64).
fn unit(a: u64, b: u64) -> f32 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}
