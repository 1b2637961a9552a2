//! The backbone: a session over a bundle's graph with taps in it.

use std::fs;
use std::panic::resume_unwind;

use mobillm_bundle::onnx::ModelProto;
use mobillm_bundle::{Bundle, OWN_PREDICTION};
use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneError, BackboneInfo, ForwardContext, OwnPrediction, TapSink, TokenBatch,
};
use ndarray::Array2;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;
use prost::Message;

use crate::graph::insert_taps;
use crate::tap::{self, Failure};

/// A bundle in ONNX Runtime. Layers above the highest tap are run only if the model has a head,
/// which needs them all.
pub struct OnnxBackbone {
    info: BackboneInfo,
    taps: Vec<usize>,
    session: Session,
}

impl OnnxBackbone {
    /// Loads `bundle` with a tap behind each layer of `taps`.
    pub(crate) fn open(
        bundle: &Bundle,
        taps: &[usize],
        threads: usize,
        environment: &Environment,
    ) -> Result<Self, BackboneError> {
        let wrong = |problem: String| BackboneError::Bundle { path: bundle.graph_path(), problem };
        check_taps(bundle, taps)?;
        let bytes = fs::read(bundle.graph_path()).map_err(|error| wrong(error.to_string()))?;
        let mut model =
            ModelProto::decode(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
        insert_taps(&mut model, taps, bundle.info().own_outputs).map_err(wrong)?;
        let folder = bundle.path().canonicalize().map_err(|error| wrong(error.to_string()))?;
        let folder = folder.to_str().ok_or_else(|| wrong("its path is not UTF-8".to_owned()))?;
        let session = session(&model, folder, threads, environment).map_err(engine)?;
        Ok(Self { info: bundle.info().clone(), taps: taps.to_vec(), session })
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
        check_batch(&self.info, batch)?;
        let mask = batch.mask();
        let view = |values| TensorRef::from_array_view(values).map_err(engine);
        let inputs = ort::inputs![
            "input_ids" => view(batch.ids())?,
            "attention_mask" => view(mask.view())?,
            "token_type_ids" => view(batch.segments())?,
        ];
        let run = || self.session.run(inputs);
        let (result, failure) = tap::lend(sink, batch.lengths(), run);
        match failure {
            Some(Failure::Sink { layer, source }) => Err(BackboneError::Sink { layer, source }),
            Some(Failure::Panic(panic)) => resume_unwind(panic),
            None => {
                let outputs = result.map_err(engine)?;
                let shape = self.info.own_outputs.map(|own| (batch.samples(), own));
                shape.map(|shape| own_prediction(&outputs, shape)).transpose()
            }
        }
    }
}

/// The head's logits, `[batch, own_outputs]`, copied out of the session's memory.
fn own_prediction(
    outputs: &SessionOutputs<'_>,
    shape: (usize, usize),
) -> Result<Array2<f32>, BackboneError> {
    let (_, logits) = outputs[OWN_PREDICTION].try_extract_tensor::<f32>().map_err(engine)?;
    Array2::from_shape_vec(shape, logits.to_vec()).map_err(engine)
}

fn session(
    model: &ModelProto,
    weights: &str,
    threads: usize,
    environment: &Environment,
) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_operators(tap::domain()?)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Taps run on the thread that calls (see `tap`), one node after the other.
        .with_parallel_execution(false)?
        // Whatever fails is returned; what a sink refuses is no business of the log.
        .with_log_level(LogLevel::Fatal)?
        // Equal input gives equal bits.
        .with_deterministic_compute(true)?
        // Batches differ in shape, and a pattern would be kept for each.
        .with_memory_pattern(false)?
        // Threads that spin between two batches take time from the stages behind this one.
        .with_config_entry("session.force_spinning_stop", "1")?
        // A graph from memory has no folder of its own to find the weights in.
        .with_config_entry("session.model_external_initializers_file_folder_path", weights)?
        .commit_from_memory(&model.encode_to_vec())
}

fn check_taps(bundle: &Bundle, taps: &[usize]) -> Result<(), BackboneError> {
    let layers = bundle.info().layers;
    let wrong =
        |problem: String| Err(BackboneError::Bundle { path: bundle.path().to_owned(), problem });
    match taps {
        [] => wrong("no layer is tapped, expected at least one".to_owned()),
        _ if !taps.is_sorted_by(|a, b| a < b) => {
            wrong(format!("the taps {taps:?} are not in ascending order"))
        }
        [.., highest] if *highest > layers => {
            wrong(format!("layer {highest} is tapped, but the model has layers 0 to {layers}"))
        }
        _ => Ok(()),
    }
}

fn check_batch(info: &BackboneInfo, batch: &TokenBatch) -> Result<(), BackboneError> {
    let wrong = |sample: usize, problem: String| Err(BackboneError::Batch { sample, problem });
    if batch.samples() == 0 {
        return wrong(0, "is missing: the batch is empty, expected at least one sample".to_owned());
    }
    for (sample, &length) in batch.lengths().iter().enumerate() {
        if !(1..=info.max_tokens).contains(&length) {
            let most = info.max_tokens;
            return wrong(sample, format!("has {length} tokens, expected 1 to {most}"));
        }
    }
    let vocabulary = info.vocabulary;
    let outside = |(_, id): &(_, &i64)| !(0..vocabulary as i64).contains(*id);
    if let Some(((sample, token), id)) = batch.ids().indexed_iter().find(outside) {
        return wrong(
            sample,
            format!("token {token} is {id}, but the model's vocabulary ends at {vocabulary}"),
        );
    }
    Ok(())
}

fn engine(error: impl Into<BoxError>) -> BackboneError {
    BackboneError::Engine { engine: "onnxruntime", source: error.into() }
}
