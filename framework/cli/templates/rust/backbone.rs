//! A backbone for mobillm, `plugin.tag` in a config: the frozen model, forward only.
//!
//! It reads the model's dimensions from the bundle and computes hidden states that are a hash of the tokens, mixed
//! layer by layer: put your engine where [`PluginType::embed`] and [`PluginType::layer`] are.
//!
//! ```
//! use mobillm_core::registry::Plugin;
//! use plugin_ident::PluginTypeConfig;
//!
//! assert_eq!(PluginTypeConfig::TAG, "plugin.tag");
//! ```

use std::fs;
use std::path::Path;

use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    OwnPrediction, Tap, TapSink, TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use ndarray::{Array3, Axis, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    backbones: [PluginTypeConfig],
}

/// Hidden states that are a hash of the tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTypeConfig {
    /// How much of its sample's mean a token takes over in a layer.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mixing: f32,
}

impl Default for PluginTypeConfig {
    fn default() -> Self {
        Self { mixing: 0.2 }
    }
}

impl Plugin for PluginTypeConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "plugin.tag";
}

#[typetag::serde(name = "plugin.tag")]
impl BackboneConfig for PluginTypeConfig {
    fn check(&self, _info: &BackboneInfo) -> Vec<Diagnostic> {
        if (0.0..=1.0).contains(&self.mixing) {
            return Vec::new();
        }
        let message = format!("{} is out of range", self.mixing);
        vec![Diagnostic::new("mixing", message).expected("0 to 1")]
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        let info = info(&context.bundle)?;
        context.check(&info)?;
        if !context.label_tokens.is_empty() {
            let problem = "this backbone scores no words; take another for a language model's task";
            let path = context.bundle.clone();
            return Err(BackboneError::Bundle {
                path,
                problem: problem.to_owned(),
            });
        }
        Ok(Box::new(PluginType {
            mixing: self.mixing,
            taps: context.taps.clone(),
            info,
        }))
    }
}

/// What a bundle's manifest says of its model. The weights, `weights.safetensors`, and the graph, `model.onnx`, lie
/// beside it.
fn info(bundle: &Path) -> Result<BackboneInfo, BackboneError> {
    #[derive(Deserialize)]
    struct Manifest {
        model: BackboneInfo,
    }
    let path = bundle.join("manifest.json");
    let wrong = |problem: String| BackboneError::Bundle {
        path: path.clone(),
        problem,
    };
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    // A task head's prediction would be the model's own; here is none.
    Ok(BackboneInfo {
        own_outputs: None,
        ..manifest.model
    })
}

/// See [`PluginTypeConfig`].
#[derive(Debug)]
pub struct PluginType {
    mixing: f32,
    taps: Vec<usize>,
    info: BackboneInfo,
}

impl PluginType {
    /// Layer 0, `[batch, tokens, hidden]`.
    fn embed(&self, batch: &TokenBatch) -> Array3<f32> {
        let (samples, tokens) = batch.ids().dim();
        Array3::from_shape_fn(
            (samples, tokens, self.info.hidden),
            |(sample, token, column)| unit(batch.ids()[[sample, token]] as u64, column as u64),
        )
    }

    /// The next layer, in place. No token is mixed with padding or with another sample's.
    fn layer(&self, hidden: &mut Array3<f32>, lengths: &[usize]) {
        for (sample, &length) in lengths.iter().enumerate() {
            let mut tokens = hidden.slice_mut(s![sample, ..length, ..]);
            if let Some(mean) = tokens.mean_axis(Axis(0)) {
                tokens.zip_mut_with(&mean.insert_axis(Axis(0)), |value, mean| {
                    *value = (1.2 * *value + self.mixing * mean).tanh();
                });
            }
        }
    }
}

impl Backbone for PluginType {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        _context: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        batch.check(&self.info)?;
        let mut hidden = self.embed(batch);
        for layer in 0..=self.info.layers {
            if layer > 0 {
                self.layer(&mut hidden, batch.lengths());
            }
            // A tap leaves before the next layer runs: the device never holds them all.
            if self.taps.contains(&layer) {
                let tap = Tap {
                    layer,
                    hidden: hidden.view(),
                    lengths: batch.lengths(),
                };
                sink.tap(tap)
                    .map_err(|source| BackboneError::Sink { layer, source })?;
            }
        }
        Ok(None)
    }
}

/// A number in -1..1 that is a hash of two numbers (splitmix64).
fn unit(a: u64, b: u64) -> f32 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}
