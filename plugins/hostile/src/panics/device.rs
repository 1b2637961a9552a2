//! The stages on the device: backbone, selector, policy and quantizer.

use std::cell::Cell;

use mobillm_core::activations::{Layout, Selected, SelectedMut};
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    OwnPrediction, Pooling, Tap, TapSink, TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::{
    AnswerScale, ClearedRows, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig,
    ReleaseContext, Supervision, SupervisionKind,
};
use mobillm_core::quantizer::{Payload, PayloadFormat, QuantizeError, Quantizer, QuantizerConfig};
use mobillm_core::sample::{Objective, SampleId, Truth};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use ndarray::Array3;

use super::{
    PanickingBackboneConfig, PanickingPolicyConfig, PanickingQuantizerConfig,
    PanickingSelectorConfig,
};
use crate::fuse::{Fuse, blow};

#[typetag::serde(name = "hostile.panics")]
impl BackboneConfig for PanickingBackboneConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        blow(&self.at, "check");
        Vec::new()
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        blow(&self.at, "build");
        let info = BackboneInfo {
            architecture: "zeros".to_owned(),
            layers: 2,
            hidden: 4,
            max_tokens: 8,
            vocabulary: 10,
            pooling: Pooling::Mean,
            own_outputs: None,
            language_head: false,
            bundle: Fingerprint::of(b"zeros"),
        };
        Ok(Box::new(Zeros { fuse: Fuse::new(&self.at), info, taps: context.taps.clone() }))
    }
}

struct Zeros {
    fuse: Fuse,
    info: BackboneInfo,
    taps: Vec<usize>,
}

impl Backbone for Zeros {
    fn info(&self) -> &BackboneInfo {
        self.fuse.reach("info");
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
        self.fuse.reach("forward");
        let (samples, tokens) = batch.ids().dim();
        let hidden = Array3::zeros((samples, tokens, self.info.hidden));
        for &layer in &self.taps {
            let tap = Tap { layer, hidden: hidden.view(), lengths: batch.lengths() };
            sink.tap(tap).map_err(|source| BackboneError::Sink { layer, source })?;
        }
        Ok(None)
    }
}

#[typetag::serde(name = "hostile.panics")]
impl SelectorConfig for PanickingSelectorConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        blow(&self.at, "check");
        Vec::new()
    }

    fn build(&self, _: &BackboneInfo) -> Box<dyn Selector> {
        blow(&self.at, "build");
        Box::new(NoRows(Fuse::new(&self.at)))
    }
}

struct NoRows(Fuse);

impl Selector for NoRows {
    fn layers(&self, _: &BackboneInfo) -> Vec<usize> {
        self.0.reach("layers");
        vec![0]
    }

    fn rows(&self, _: usize) -> usize {
        self.0.reach("rows");
        0
    }

    fn select(&self, tap: &Tap<'_>, mut memory: Vec<f32>) -> Result<Selected, SelectorError> {
        self.0.reach("select");
        memory.clear();
        let layout = Layout::from_counts(tap.lengths.iter().map(|_| 0));
        Ok(Selected::new(tap.layer, layout, tap.hidden.dim().2, memory)?)
    }
}

#[typetag::serde(name = "hostile.panics")]
impl PrivacyPolicyConfig for PanickingPolicyConfig {
    fn check(&self, _: &Objective) -> Vec<Diagnostic> {
        blow(&self.at, "check");
        Vec::new()
    }

    fn build(&self, _: &Objective) -> Box<dyn PrivacyPolicy> {
        blow(&self.at, "build");
        Box::new(SaysNothing { fuse: Fuse::new(&self.at), combined: Cell::new(0) })
    }
}

struct SaysNothing {
    fuse: Fuse,
    combined: Cell<usize>,
}

impl PrivacyPolicy for SaysNothing {
    fn info(&self) -> PolicyInfo {
        self.fuse.reach("info");
        PolicyInfo {
            supervision: Some(SupervisionKind::Truth),
            answers: AnswerScale::Raw,
            guarantee: "none".to_owned(),
        }
    }

    fn activations(
        &mut self,
        _: &ReleaseContext<'_>,
        _: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        self.fuse.reach("activations");
        Ok(())
    }

    fn supervise(
        &mut self,
        _: SampleId,
        _: Truth,
        _: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        self.fuse.reach("supervise");
        Ok(Some(Supervision::Label(0)))
    }

    fn combine(&self, _: &[f32], _: &mut [f32]) -> Result<(), PolicyError> {
        let combined = self.combined.get() + 1;
        self.combined.set(combined);
        self.fuse.reach("combine");
        // The policy may also fail at one answer alone, such as `combine 3`.
        self.fuse.reach(&format!("combine {combined}"));
        Ok(())
    }
}

#[typetag::serde(name = "hostile.panics")]
impl QuantizerConfig for PanickingQuantizerConfig {
    fn check(&self, _: usize) -> Vec<Diagnostic> {
        blow(&self.at, "check");
        Vec::new()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        blow(&self.at, "build");
        Box::new(Forgets(Fuse::new(&self.at)))
    }
}

struct Forgets(Fuse);

impl Quantizer for Forgets {
    fn format(&self) -> PayloadFormat {
        self.0.reach("format");
        PayloadFormat { name: *b"zero", version: 1, flags: 0, block: 0 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        self.0.reach("row_bytes");
        hidden
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        self.0.reach("error_bound");
        row.iter().map(|value| value.abs()).collect()
    }

    fn encode_rows(&self, _: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError> {
        self.0.reach("encode");
        out.fill(0);
        Ok(())
    }

    fn decode_rows(&self, _: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError> {
        self.0.reach("decode");
        out.fill(0.0);
        Ok(())
    }
}
