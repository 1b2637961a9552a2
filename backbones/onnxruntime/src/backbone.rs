//! The backbone: a session over a bundle's graph with taps in it.

use std::borrow::Cow;
use std::fs;
use std::panic::resume_unwind;

use mobillm_bundle::onnx::ModelProto;
use mobillm_bundle::{
    ATTENTION_MASK, Bundle, INPUT_IDS, LAST_TOKENS, OWN_PREDICTION, OWN_STATE, TOKEN_TYPE_IDS,
};
use mobillm_core::backbone::{
    Backbone, BackboneError, BackboneInfo, ForwardContext, OwnPrediction, Tap, TapSink, TokenBatch,
};
use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Ix3};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::Tensor;
use prost::Message;

use crate::engine::{Engine, engine};
use crate::graph::{self, OwnOutput, Way, insert_taps};
use crate::tap::{self, Failure};

/// A bundle in ONNX Runtime. Layers above the highest tap are run only if the model is to make a
/// prediction of its own, which needs them all.
pub struct OnnxBackbone {
    info: BackboneInfo,
    taps: Vec<usize>,
    own: Option<Own>,
    inputs: Vec<Input>,
    way: Way,
    memory_limit_mb: Option<usize>,
    session: Session,
}

/// What the own prediction is made of.
enum Own {
    /// The graph's output as it is.
    Logits { outputs: usize },
    /// The graph's output times the label tokens' rows of the head's matrix, `[labels, width]`.
    Labels(Array2<f32>),
}

impl Own {
    /// That of `bundle`, if there is one to be made for `label_tokens`.
    fn of(bundle: &Bundle, label_tokens: &[u32]) -> Result<Option<Self>, BackboneError> {
        if label_tokens.is_empty() {
            return Ok(bundle.info().own_outputs.map(|outputs| Self::Logits { outputs }));
        }
        let rows = bundle.label_rows(label_tokens).map_err(|error| BackboneError::Bundle {
            path: bundle.path().to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Some(Self::Labels(rows)))
    }

    fn output(&self) -> OwnOutput {
        match self {
            Self::Logits { outputs } => OwnOutput { name: OWN_PREDICTION, width: *outputs },
            Self::Labels(rows) => OwnOutput { name: OWN_STATE, width: rows.ncols() },
        }
    }

    fn outputs(&self) -> usize {
        match self {
            Self::Logits { outputs } => *outputs,
            Self::Labels(rows) => rows.nrows(),
        }
    }

    /// `[batch, own_outputs]` from what the graph gave, `[batch, width]`.
    fn predict(&self, given: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Logits { .. } => given.to_owned(),
            Self::Labels(rows) => given.dot(&rows.t()),
        }
    }
}

/// What a graph takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    Segments,
    LastTokens,
}

impl Input {
    const ALL: [Self; 4] = [Self::Ids, Self::Mask, Self::Segments, Self::LastTokens];

    fn name(self) -> &'static str {
        match self {
            Self::Ids => INPUT_IDS,
            Self::Mask => ATTENTION_MASK,
            Self::Segments => TOKEN_TYPE_IDS,
            Self::LastTokens => LAST_TOKENS,
        }
    }

    fn named(name: &str) -> Result<Self, String> {
        let input = Self::ALL.into_iter().find(|input| input.name() == name);
        input.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("its graph takes `{name}`, which nobody can give it; known are {known}")
        })
    }

    fn of(self, batch: &TokenBatch) -> ort::Result<SessionInputValue<'static>> {
        Ok(match self {
            Self::Ids => Tensor::from_array(batch.ids().to_owned())?.into(),
            Self::Mask => Tensor::from_array(batch.mask())?.into(),
            Self::Segments => Tensor::from_array(batch.segments().to_owned())?.into(),
            Self::LastTokens => {
                let last = batch.lengths().iter().map(|&length| length as i64 - 1);
                Tensor::from_array(last.collect::<Array1<i64>>())?.into()
            }
        })
    }
}

impl OnnxBackbone {
    /// Loads `bundle` with a tap behind each layer of `taps`; it predicts which of `label_tokens`
    /// comes next, if there are any.
    pub(crate) fn open(
        bundle: &Bundle,
        taps: &[usize],
        label_tokens: &[u32],
        engine: &Engine,
    ) -> Result<Self, BackboneError> {
        let wrong = |problem: String| BackboneError::Bundle { path: bundle.graph_path(), problem };
        let own = Own::of(bundle, label_tokens)?;
        let bytes = fs::read(bundle.graph_path()).map_err(|error| wrong(error.to_string()))?;
        let mut model =
            ModelProto::decode(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
        let own_output = own.as_ref().map(Own::output);
        insert_taps(&mut model, taps, own_output, engine.way).map_err(wrong)?;
        let inputs = graph::inputs(&model).map(Input::named).collect::<Result<_, _>>();
        let folder = bundle.path().canonicalize().map_err(|error| wrong(error.to_string()))?;
        let folder = folder.to_str().ok_or_else(|| wrong("its path is not UTF-8".to_owned()))?;
        Ok(Self {
            info: BackboneInfo {
                own_outputs: own.as_ref().map(Own::outputs),
                ..bundle.info().clone()
            },
            taps: taps.to_vec(),
            own,
            inputs: inputs.map_err(wrong)?,
            way: engine.way,
            memory_limit_mb: engine.memory_limit_mb,
            session: engine.session(&model, folder)?,
        })
    }
}

impl Backbone for OnnxBackbone {
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
        let input = |input: &Input| Ok((Cow::Borrowed(input.name()), input.of(batch)?));
        let inputs: ort::Result<Vec<_>> = self.inputs.iter().map(input).collect();
        let inputs = inputs.map_err(engine)?;
        let limit = self.memory_limit_mb;
        let run = || self.session.run(inputs);
        let (result, failure) = match self.way {
            Way::Operators => tap::lend(sink, batch.lengths(), run),
            Way::Outputs => (run(), None),
        };
        match failure {
            Some(Failure::Sink { layer, source }) => {
                return Err(BackboneError::Sink { layer, source });
            }
            Some(Failure::Panic(panic)) => resume_unwind(panic),
            None => {}
        }
        let outputs = result.map_err(|error| failed(error, batch, limit))?;
        if self.way == Way::Outputs {
            hand_out(&outputs, &self.taps, batch, sink)?;
        }
        self.own.as_ref().map(|own| own_prediction(&outputs, own, batch)).transpose()
    }
}

/// Hands the hidden states of the layers `taps`, which are outputs, to `sink`.
fn hand_out(
    outputs: &SessionOutputs<'_>,
    taps: &[usize],
    batch: &TokenBatch,
    sink: &mut dyn TapSink,
) -> Result<(), BackboneError> {
    for &layer in taps {
        let hidden = outputs[graph::value(layer)].try_extract_array::<f32>().map_err(engine)?;
        let hidden: ArrayView3<'_, f32> = hidden.into_dimensionality::<Ix3>().map_err(engine)?;
        let tap = Tap { layer, hidden, lengths: batch.lengths() };
        sink.tap(tap).map_err(|source| BackboneError::Sink { layer, source })?;
    }
    Ok(())
}

/// The own prediction, out of the session's memory.
fn own_prediction(
    outputs: &SessionOutputs<'_>,
    own: &Own,
    batch: &TokenBatch,
) -> Result<Array2<f32>, BackboneError> {
    let OwnOutput { name, width } = own.output();
    let (_, given) = outputs[name].try_extract_tensor::<f32>().map_err(engine)?;
    let given = ArrayView2::from_shape((batch.samples(), width), given).map_err(engine)?;
    Ok(own.predict(given))
}

/// Why a run failed; what to do if it was for the memory limit.
fn failed(error: ort::Error, batch: &TokenBatch, limit: Option<usize>) -> BackboneError {
    // The message of ONNX Runtime's arena; there is no code for it.
    let is_memory = error.message().contains("is smaller than requested bytes");
    let Some(limit) = limit.filter(|_| is_memory) else { return engine(error) };
    let (samples, tokens) = batch.ids().dim();
    engine(format!(
        "{samples} samples of {tokens} tokens need more than the {limit} MB of `memory_limit_mb`; \
         forward fewer tokens at once (`micro_batch_tokens` of the device), or raise the limit"
    ))
}

#[cfg(test)]
mod tests;
