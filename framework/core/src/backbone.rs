//! The frozen model on the device: forward passes only, hidden states handed out layer by layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::BoxError;
use crate::diagnostic::Diagnostic;
use crate::fingerprint::Fingerprint;

/// Which token rows enter the loss, as the model's own files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The first token (BERT's `[CLS]`).
    FirstToken,
    /// The mean over all tokens that are not padding.
    Mean,
    /// The last token that is not padding (decoders).
    LastToken,
}

/// What is known about a backbone before a weight is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneInfo {
    /// The architecture's name, as in its config ("bert").
    pub architecture: String,
    /// Transformer layers. Taps are numbered 0 (embedding) to `layers` (output of the last one).
    pub layers: usize,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Tokens that one sample may have.
    pub max_tokens: usize,
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Which rows enter the loss.
    pub pooling: Pooling,
    /// Outputs of the model's own prediction: those of its task head, or one for each of
    /// [`BackboneContext::label_tokens`]; `None` if it makes none.
    pub own_outputs: Option<usize>,
    /// Whether the model scores every token of its vocabulary as the next one, so that it can answer
    /// with a word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub language_head: bool,
    /// Names the bundle, weights and tokenizer included.
    pub bundle: Fingerprint,
}

/// The tokens of one sample.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment of each token (0 for the first text, 1 for the second of a pair).
    pub segments: Vec<u32>,
}

/// A micro-batch of token ids, padded on the right to the longest sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Array2<i64>,
    segments: Array2<i64>,
    lengths: Vec<usize>,
}

impl TokenBatch {
    /// Pads `samples` with token `padding`.
    pub fn new<'a>(samples: impl IntoIterator<Item = &'a Tokens>, padding: u32) -> Self {
        let samples: Vec<&Tokens> = samples.into_iter().collect();
        let lengths: Vec<usize> = samples.iter().map(|tokens| tokens.ids.len()).collect();
        let shape = (samples.len(), lengths.iter().copied().max().unwrap_or(0));
        let mut ids = Array2::from_elem(shape, i64::from(padding));
        let mut segments = Array2::zeros(shape);
        for (row, tokens) in samples.iter().enumerate() {
            for (column, (&id, &segment)) in tokens.ids.iter().zip(&tokens.segments).enumerate() {
                ids[[row, column]] = i64::from(id);
                segments[[row, column]] = i64::from(segment);
            }
        }
        Self { ids, segments, lengths }
    }

    /// A batch that is padded already: `ids` and `segments` of shape `[batch, tokens]`.
    ///
    /// # Errors
    /// If the parts differ in shape, or if `tokens` is not the longest of `lengths`.
    pub fn padded(
        ids: Array2<i64>,
        segments: Array2<i64>,
        lengths: Vec<usize>,
    ) -> Result<Self, BackboneError> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let expected = (lengths.len(), longest);
        for (part, got) in [("ids", ids.dim()), ("segments", segments.dim())] {
            if got != expected {
                let problem = format!("the batch's {part} are {got:?}, expected {expected:?}");
                return Err(BackboneError::Batch { sample: 0, problem });
            }
        }
        let rows_first = |array: Array2<i64>| array.as_standard_layout().into_owned();
        Ok(Self { ids: rows_first(ids), segments: rows_first(segments), lengths })
    }

    /// Token ids, `[batch, tokens]`.
    pub fn ids(&self) -> ArrayView2<'_, i64> {
        self.ids.view()
    }

    /// Segments, `[batch, tokens]`.
    pub fn segments(&self) -> ArrayView2<'_, i64> {
        self.segments.view()
    }

    /// 1 where there is a token, 0 where there is padding, `[batch, tokens]`.
    pub fn mask(&self) -> Array2<i64> {
        Array2::from_shape_fn(self.ids.dim(), |(row, column)| i64::from(column < self.lengths[row]))
    }

    /// Tokens of each sample, padding not counted.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Samples in the batch.
    pub fn samples(&self) -> usize {
        self.lengths.len()
    }

    /// Whether a model like `info` takes it.
    ///
    /// # Errors
    /// If it is empty, or a sample's length or token is out of range.
    pub fn check(&self, info: &BackboneInfo) -> Result<(), BackboneError> {
        let wrong = |sample: usize, problem: String| Err(BackboneError::Batch { sample, problem });
        if self.samples() == 0 {
            let problem = "is missing: the batch is empty, expected at least one sample";
            return wrong(0, problem.to_owned());
        }
        for (sample, &length) in self.lengths.iter().enumerate() {
            if !(1..=info.max_tokens).contains(&length) {
                let most = info.max_tokens;
                return wrong(sample, format!("has {length} tokens, expected 1 to {most}"));
            }
        }
        let vocabulary = info.vocabulary;
        let outside = |(_, id): &(_, &i64)| !(0..vocabulary as i64).contains(*id);
        match self.ids.indexed_iter().find(outside) {
            None => Ok(()),
            Some(((sample, token), id)) => wrong(
                sample,
                format!("token {token} is {id}, but the model's vocabulary ends at {vocabulary}"),
            ),
        }
    }
}

/// One layer's hidden state, lent to a [`TapSink`] while the forward pass waits.
#[derive(Debug, Clone, Copy)]
pub struct Tap<'a> {
    /// 0 is the embedding, i the output of layer i.
    pub layer: usize,
    /// `[batch, tokens, hidden]`, padded on the right.
    pub hidden: ArrayView3<'a, f32>,
    /// Tokens of each sample, padding not counted.
    pub lengths: &'a [usize],
}

/// Takes taps as they are computed, in ascending order of layer.
pub trait TapSink {
    /// Takes one tap. The forward pass goes on when this returns.
    ///
    /// # Errors
    /// Any error ends the forward pass with [`BackboneError::Sink`].
    fn tap(&mut self, tap: Tap<'_>) -> Result<(), BoxError>;
}

impl<F: FnMut(Tap<'_>) -> Result<(), BoxError>> TapSink for F {
    fn tap(&mut self, tap: Tap<'_>) -> Result<(), BoxError> {
        self(tap)
    }
}

/// What a forward pass may need beside the tokens. Later versions add fields.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ForwardContext {}

/// What the frozen model itself predicts: `[batch, own_outputs]` logits, or `None` without a head.
pub type OwnPrediction = Option<Array2<f32>>;

/// A frozen model that only runs forward.
///
/// What it promises beyond its types are the laws of `mobillm_testkit::backbone`.
pub trait Backbone: Send {
    /// The model's dimensions and identity.
    fn info(&self) -> &BackboneInfo;

    /// The layers that are tapped, ascending.
    fn taps(&self) -> &[usize];

    /// Runs `batch` forward and hands every tapped layer to `sink` as soon as it is computed.
    ///
    /// # Errors
    /// If a token or length is out of range, if the engine fails, or if `sink` does.
    fn forward(
        &mut self,
        batch: &TokenBatch,
        context: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError>;
}

/// Why a backbone could not be built or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// The engine's native library is missing or of a wrong version.
    #[error("{library}: {problem}; {remedy}")]
    Library {
        /// Its name.
        library: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The bundle cannot be used.
    #[error("bundle {}: {problem}", path.display())]
    Bundle {
        /// The bundle's folder or file.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        problem: String,
    },
    /// The batch does not fit the model.
    #[error("sample {sample} of the batch: {problem}")]
    Batch {
        /// Which sample.
        sample: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The engine failed.
    #[error("{engine}: {source}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// Its error.
        #[source]
        source: BoxError,
    },
    /// The sink refused a tap.
    #[error("layer {layer} could not be passed on: {source}")]
    Sink {
        /// The tapped layer.
        layer: usize,
        /// The sink's error.
        #[source]
        source: BoxError,
    },
    /// A backbone that was loaded failed.
    #[error(transparent)]
    Plugin(BoxError),
}

/// Native libraries that were found on this machine, by name ("onnxruntime", "libtorch").
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NativeLibraries(pub BTreeMap<String, PathBuf>);

impl NativeLibraries {
    /// The path of library `name`, if it was found.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }
}

/// What a backbone is built from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackboneContext {
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// Layers to tap, ascending; none if the prediction is all that is wanted.
    pub taps: Vec<usize>,
    /// The tokens whose scores, as the next one after a sample's last, are the own prediction of a
    /// model with a language head; empty: no such prediction is made.
    pub label_tokens: Vec<u32>,
    /// Native libraries of this machine.
    pub libraries: NativeLibraries,
}

impl BackboneContext {
    /// Whether a backbone of a model like `info` has these taps, and anything to do.
    ///
    /// # Errors
    /// If the taps are not in ascending order or one is beyond the last layer, or if there are none and
    /// no prediction is made either.
    pub fn check(&self, info: &BackboneInfo) -> Result<(), BackboneError> {
        let (taps, layers) = (&self.taps, info.layers);
        let wrong =
            |problem: String| Err(BackboneError::Bundle { path: self.bundle.clone(), problem });
        match taps[..] {
            [] if self.label_tokens.is_empty() && info.own_outputs.is_none() => {
                wrong("no layer is tapped and no prediction is asked for".to_owned())
            }
            _ if !taps.is_sorted_by(|a, b| a < b) => {
                wrong(format!("the taps {taps:?} are not in ascending order"))
            }
            [.., highest] if highest > layers => {
                wrong(format!("layer {highest} is tapped, but the model has layers 0 to {layers}"))
            }
            _ => Ok(()),
        }
    }
}

/// The config twin of [`Backbone`].
#[typetag::serde(tag = "type")]
pub trait BackboneConfig: std::fmt::Debug + Send + Sync {
    /// Everything that is wrong with this config for a model like `info`. Pure.
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic>;

    /// Loads the model.
    ///
    /// # Errors
    /// If the bundle or the engine's library cannot be used.
    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_on_the_right() {
        let long = Tokens { ids: vec![1, 2, 3], segments: vec![0, 0, 1] };
        let short = Tokens { ids: vec![4], segments: vec![0] };
        let batch = TokenBatch::new([&long, &short], 9);
        assert_eq!(batch.ids(), ndarray::array![[1, 2, 3], [4, 9, 9]]);
        assert_eq!(batch.mask(), ndarray::array![[1, 1, 1], [1, 0, 0]]);
        assert_eq!(batch.segments(), ndarray::array![[0, 0, 1], [0, 0, 0]]);
        assert_eq!(batch.lengths(), [3, 1]);
        let (ids, segments) = (batch.ids().to_owned(), batch.segments().to_owned());
        let again = TokenBatch::padded(ids.clone(), segments.clone(), vec![3, 1]).unwrap();
        assert_eq!(again, batch);
        for lengths in [vec![3], vec![2, 1], vec![4, 1]] {
            assert!(TokenBatch::padded(ids.clone(), segments.clone(), lengths).is_err());
        }
        assert!(TokenBatch::padded(ids, Array2::zeros((2, 2)), vec![3, 1]).is_err());
    }

    #[test]
    fn taps_are_layers_of_the_model_in_their_order() {
        let info = |own_outputs| BackboneInfo {
            architecture: "test".into(),
            layers: 3,
            hidden: 4,
            max_tokens: 8,
            vocabulary: 10,
            pooling: Pooling::Mean,
            own_outputs,
            language_head: true,
            bundle: Fingerprint::of(b"test"),
        };
        let check = |taps: &[usize], label_tokens: &[u32], own_outputs| {
            let context = BackboneContext {
                bundle: "folder".into(),
                taps: taps.to_vec(),
                label_tokens: label_tokens.to_vec(),
                libraries: NativeLibraries::default(),
            };
            context.check(&info(own_outputs)).map_err(|error| error.to_string())
        };
        for sound in
            [check(&[0, 1, 3], &[], None), check(&[], &[7], None), check(&[], &[], Some(2))]
        {
            assert_eq!(sound, Ok(()));
        }
        let refused = |problem: &str| Err(format!("bundle folder: {problem}"));
        let nothing = "no layer is tapped and no prediction is asked for";
        assert_eq!(check(&[], &[], None), refused(nothing));
        assert_eq!(
            check(&[2, 2], &[], None),
            refused("the taps [2, 2] are not in ascending order")
        );
        let beyond = "layer 4 is tapped, but the model has layers 0 to 3";
        assert_eq!(check(&[0, 4], &[7], Some(2)), refused(beyond));
    }
}
