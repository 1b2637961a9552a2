//! Stand-ins for stages that a test is not about.

use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    OwnPrediction, Pooling, Tap, TapSink, TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::registry::{Plugin, Slot};
use ndarray::{Array2, Array3, Axis, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A backbone without weights: embeddings are a hash of the token, and every layer mixes a token
/// with the mean of its sample. Fast, deterministic, and independent of batch mates to the last bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FakeBackboneConfig {
    /// Layers.
    pub layers: usize,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Outputs of a task head of its own, whose logits are a fixed projection of the last layer; none
    /// without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_outputs: Option<usize>,
    /// Which token rows that head sees, and enter the loss: `first-token`, `mean` or `last-token`.
    #[serde(default = "mean")]
    #[schemars(with = "String")]
    pub pooling: Pooling,
    /// Makes this layer's output NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nan_layer: Option<usize>,
    /// Milliseconds that every layer takes.
    #[serde(default)]
    pub layer_milliseconds: u64,
}

fn mean() -> Pooling {
    Pooling::Mean
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
        let fake = FakeBackbone::new(self.clone(), context.taps.clone());
        Ok(Box::new(fake.answering(&context.label_tokens)))
    }
}

/// See [`FakeBackboneConfig`].
pub struct FakeBackbone {
    config: FakeBackboneConfig,
    taps: Vec<usize>,
    info: BackboneInfo,
    /// Of each output of its own prediction a number that its weights are a hash of.
    outputs: Vec<u64>,
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
            pooling: config.pooling,
            own_outputs: config.own_outputs,
            language_head: false,
            bundle: Fingerprint::of(b"fake"),
        };
        let outputs = (0..config.own_outputs.unwrap_or(0) as u64).map(|output| !output).collect();
        Self { config, taps, info, outputs }
    }

    /// The same, whose own prediction is the score of each of `tokens`, if there are any.
    pub fn answering(mut self, tokens: &[u32]) -> Self {
        if !tokens.is_empty() {
            self.info.own_outputs = Some(tokens.len());
            self.outputs = tokens.iter().map(|&token| u64::from(token)).collect();
        }
        self
    }

    fn embed(&self, batch: &TokenBatch) -> Array3<f32> {
        let (samples, tokens) = batch.ids().dim();
        Array3::from_shape_fn((samples, tokens, self.config.hidden), |(sample, token, column)| {
            unit(batch.ids()[[sample, token]] as u64, column as u64)
        })
    }

    /// Logits of its own prediction, `[batch, own_outputs]`.
    fn own(&self, hidden: &Array3<f32>, lengths: &[usize]) -> OwnPrediction {
        let mut own = Array2::zeros((lengths.len(), self.info.own_outputs?));
        let samples = hidden.outer_iter().zip(lengths);
        for (mut logits, (tokens, &length)) in own.outer_iter_mut().zip(samples) {
            let pooled = match self.config.pooling {
                Pooling::FirstToken => tokens.row(0).to_owned(),
                Pooling::LastToken => tokens.row(length - 1).to_owned(),
                Pooling::Mean => tokens.slice(s![..length, ..]).sum_axis(Axis(0)) / length as f32,
            };
            for (&output, logit) in self.outputs.iter().zip(&mut logits) {
                let weights = (0..).map(|column| unit(output, column));
                *logit = pooled.iter().zip(weights).map(|(value, weight)| value * weight).sum();
            }
        }
        Some(own)
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
        Ok(self.own(&hidden, batch.lengths()))
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use mobillm_core::backbone::Tokens;

    use super::*;

    fn fake(pooling: Pooling, taps: &[usize]) -> FakeBackbone {
        let config = FakeBackboneConfig {
            layers: 3,
            hidden: 16,
            own_outputs: Some(3),
            pooling,
            nan_layer: None,
            layer_milliseconds: 1,
        };
        FakeBackbone::new(config, taps.to_vec())
    }

    const POOLINGS: [Pooling; 3] = [Pooling::FirstToken, Pooling::Mean, Pooling::LastToken];

    /// Tokens `ids` of one text.
    fn tokens(ids: Range<u32>) -> Tokens {
        Tokens { segments: vec![0; ids.len()], ids: ids.collect() }
    }

    #[test]
    fn it_is_a_backbone() {
        crate::backbone::conformance(&|taps| Box::new(fake(Pooling::Mean, taps)));
    }

    /// The bits of all taps, without padding, and of the logits, for each sample.
    fn bits(fake: &mut FakeBackbone, samples: &[&Tokens]) -> Vec<(Vec<u32>, Vec<u32>)> {
        let mut taps = vec![Vec::new(); samples.len()];
        let mut keep = |tap: Tap<'_>| {
            for (sample, &length) in tap.lengths.iter().enumerate() {
                let tokens = tap.hidden.slice(s![sample, ..length, ..]);
                taps[sample].extend(tokens.iter().map(|value| value.to_bits()));
            }
            Ok(())
        };
        let batch = TokenBatch::new(samples.iter().copied(), 0);
        let own = fake.forward(&batch, &ForwardContext::default(), &mut keep).unwrap().unwrap();
        let own = own.outer_iter().map(|logits| logits.iter().map(|x| x.to_bits()).collect());
        taps.into_iter().zip(own.collect::<Vec<_>>()).collect()
    }

    #[test]
    fn batch_mates_do_not_change_a_bit() {
        let samples = [1, 2, 3, 9, 17, 64].map(|length| tokens(7 * length..8 * length));
        let samples: Vec<&Tokens> = samples.iter().collect();
        for pooling in POOLINGS {
            let mut fake = fake(pooling, &[0, 1, 2, 3]);
            let together = bits(&mut fake, &samples);
            for (&sample, together) in samples.iter().zip(&together) {
                assert_eq!(&bits(&mut fake, &[sample])[0], together, "{pooling:?}");
            }
        }
    }

    #[test]
    fn its_head_tells_samples_apart() {
        let samples = [1..3, 3..5].map(tokens);
        for pooling in POOLINGS {
            let of_both = bits(&mut fake(pooling, &[3]), &samples.each_ref());
            assert_ne!(of_both[0].1, of_both[1].1, "{pooling:?}");
        }
    }
}
