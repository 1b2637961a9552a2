//! The backbone: layer after layer over a bundle's mapped weights, each tap handed out in between.

use candle_core::Tensor;
use mobillm_bundle::Bundle;
use mobillm_bundle::network::Network;
use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneError, BackboneInfo, ForwardContext, OwnPrediction, Tap, TapSink, TokenBatch,
};
use mobillm_weights::WeightsFile;
use ndarray::{Array3, ArrayView2, s};
use rayon::ThreadPool;

use crate::attention::Turns;
use crate::embedding::Embedding;
use crate::head::Predictor;
use crate::layer::Layer;
use crate::rows::{tensor, with_rows};
use crate::tensors::Tensors;

/// A bundle in candle. Layers above the highest tap are run only if the own prediction needs them.
pub struct CandleBackbone {
    info: BackboneInfo,
    taps: Vec<usize>,
    network: Network,
    weights: WeightsFile,
    /// The rows of the language head that score the label tokens, `[labels, width]`.
    labels: Option<Tensor>,
    pool: ThreadPool,
}

impl CandleBackbone {
    /// Maps the weights of `bundle`, to hand out `taps` and predict `label_tokens`.
    pub(crate) fn open(
        bundle: &Bundle,
        taps: &[usize],
        label_tokens: &[u32],
        threads: usize,
    ) -> Result<Self, BackboneError> {
        let wrong =
            |problem: String| BackboneError::Bundle { path: bundle.path().to_owned(), problem };
        let network = described(bundle).map_err(wrong)?.clone();
        let weights = bundle.weights().map_err(|error| wrong(error.to_string()))?;
        let mut info = bundle.info().clone();
        let labels = if label_tokens.is_empty() {
            None
        } else {
            let rows = bundle.label_rows(label_tokens).map_err(|error| wrong(error.to_string()))?;
            info.own_outputs = Some(rows.nrows());
            Some(tensor(rows).map_err(engine)?)
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(engine)?;
        let backbone = Self { info, taps: taps.to_vec(), network, weights, labels, pool };
        backbone.check()?;
        Ok(backbone)
    }

    /// Finds whatever a forward pass would miss.
    fn check(&self) -> Result<(), BackboneError> {
        let tensors = self.tensors();
        tensors.check()?;
        Embedding::read(&tensors)?;
        let predictor = self.predictor()?;
        for layer in 0..self.layers(predictor.as_ref()) {
            Layer::read(&tensors, layer)?;
        }
        Ok(())
    }

    /// Whether the model takes `batch`.
    fn check_batch(&self, batch: &TokenBatch) -> Result<(), BackboneError> {
        batch.check(&self.info)?;
        let segments = self.network.embedding.segments;
        let outside = |(_, id): &(_, &i64)| segments > 0 && !(0..segments as i64).contains(*id);
        match batch.segments().indexed_iter().find(outside) {
            None => Ok(()),
            Some(((sample, token), id)) => Err(BackboneError::Batch {
                sample,
                problem: format!(
                    "token {token} is of segment {id}, but the model's segments end at {segments}"
                ),
            }),
        }
    }

    fn predictor(&self) -> Result<Option<Predictor<'_>>, BackboneError> {
        Predictor::read(&self.tensors(), self.labels.as_ref())
    }

    /// The layers that are run: all for a prediction, else those up to the highest tap.
    fn layers(&self, predictor: Option<&Predictor<'_>>) -> usize {
        let highest = self.taps.last().copied().unwrap_or(0);
        if predictor.is_some() { self.info.layers } else { highest }
    }

    fn tensors(&self) -> Tensors<'_> {
        Tensors { file: &self.weights, network: &self.network, info: &self.info }
    }
}

/// The network that the manifest of `bundle` describes.
fn described(bundle: &Bundle) -> Result<&Network, String> {
    bundle.network().ok_or_else(|| match bundle.manifest().format {
        format @ 1..3 => format!(
            "is of format {format}, which describes its network only as an ONNX graph; \
             import the model again, or choose the backbone `onnxruntime`"
        ),
        _ => "was imported from an ONNX graph, which only the backbone `onnxruntime` can run; \
              choose that one, or import the model from its folder or GGUF file"
            .to_owned(),
    })
}

impl Backbone for CandleBackbone {
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
        self.check_batch(batch)?;
        let (tensors, lengths) = (self.tensors(), batch.lengths());
        let predictor = self.predictor()?;
        let layers = self.layers(predictor.as_ref());
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rotary = self.network.attention.rotary.as_ref();
        let turns = rotary.map(|rotary| Turns::new(rotary, longest));
        let mut taps = Taps { lengths, padded: None, sink };
        let mut hidden = Embedding::read(&tensors)?.forward(&self.pool, batch).map_err(engine)?;
        for layer in 0..=layers {
            if self.taps.binary_search(&layer).is_ok() {
                taps.hand_out(layer, &hidden)?;
            }
            if layer < layers {
                let layer = Layer::read(&tensors, layer)?;
                hidden =
                    layer.forward(&self.pool, hidden, lengths, turns.as_ref()).map_err(engine)?;
            }
        }
        predictor
            .map(|predictor| predictor.forward(&self.pool, &hidden, lengths).map_err(engine))
            .transpose()
    }
}

/// Where taps go. The tokens of all samples stand one behind the other; a sink gets them padded.
struct Taps<'a> {
    lengths: &'a [usize],
    /// A place `[batch, tokens, hidden]` for the padded form, zero where there is padding.
    padded: Option<Array3<f32>>,
    sink: &'a mut dyn TapSink,
}

impl Taps<'_> {
    /// Hands out `hidden` `[tokens, hidden]` as the tap of `layer`.
    fn hand_out(&mut self, layer: usize, hidden: &Tensor) -> Result<(), BackboneError> {
        let passed = with_rows(hidden, |rows| self.pass(layer, rows)).map_err(engine)?;
        passed.map_err(|source| BackboneError::Sink { layer, source })
    }

    fn pass(&mut self, layer: usize, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        let lengths = self.lengths;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let shape = (lengths.len(), longest, rows.ncols());
        if rows.nrows() == lengths.len() * longest {
            let hidden = rows.into_shape_with_order(shape)?;
            return self.sink.tap(Tap { layer, hidden, lengths });
        }
        let padded = self.padded.get_or_insert_with(|| Array3::zeros(shape));
        let mut first = 0;
        for (sample, &length) in lengths.iter().enumerate() {
            let tokens = rows.slice(s![first..first + length, ..]);
            padded.slice_mut(s![sample, ..length, ..]).assign(&tokens);
            first += length;
        }
        self.sink.tap(Tap { layer, hidden: padded.view(), lengths })
    }
}

pub(crate) fn engine(error: impl Into<BoxError>) -> BackboneError {
    BackboneError::Engine { engine: "candle", source: error.into() }
}
