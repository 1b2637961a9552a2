//! What every importer makes of a foreign model, and what the writer of bundles takes.

use std::path::PathBuf;

use mobillm_core::backbone::BackboneInfo;
use mobillm_weights::{Blocks, Encoding, WeightFormat};

use super::ImportError;
use super::layout::layout;
use crate::network::Network;
use crate::tokenizer::BundleTokenizer;

/// A foreign model in our own terms: its dimensions, its computation, and its tensors by the names of
/// [`network`](crate::network). No weight is in memory yet.
pub(crate) struct Source {
    /// The file or folder that it comes from, for errors.
    pub(crate) path: PathBuf,
    /// Dimensions; `own_outputs` and `language_head` follow from the network's head, and `bundle` is
    /// all zeros.
    pub(crate) info: BackboneInfo,
    /// What is computed.
    pub(crate) network: Network,
    /// The token to pad with, if the model names one.
    pub(crate) padding: Option<u32>,
    /// Names of the head's outputs, in their order, if the model gives them any.
    pub(crate) own_labels: Option<Vec<String>>,
    /// The format that is nearest to the one in which the model comes.
    pub(crate) weights: WeightFormat,
    /// Its tokenizer.
    pub(crate) tokenizer: TokenizerSource,
    /// Its tensors.
    pub(crate) tensors: Vec<SourceTensor>,
}

/// The text of a `tokenizer.json`, and the file that it comes from.
pub(crate) struct TokenizerSource {
    /// Where the tokenizer was found, for errors.
    pub(crate) path: PathBuf,
    /// A `tokenizer.json` of Hugging Face tokenizers.
    pub(crate) json: Vec<u8>,
}

/// A tensor that is read when it is needed, so that one matrix and its encoding are in memory at a time.
pub(crate) struct SourceTensor {
    /// Its name in the source, for errors.
    pub(crate) origin: String,
    /// Its name in [`network`](crate::network).
    pub(crate) name: String,
    /// Its shape there.
    pub(crate) shape: Vec<usize>,
    /// The blocks that it is read as, if the source says so; else it is read as f32.
    pub(crate) blocks: Option<Encoding>,
    /// Reads its values.
    pub(crate) read: Box<dyn Fn() -> Result<Values, ImportError>>,
}

/// The values of a tensor.
pub(crate) enum Values {
    /// Row-major.
    F32(Vec<f32>),
    /// Blocks of few bits, as a GGUF file has them.
    Blocks(Blocks),
}

impl Source {
    /// Checks that the tensors are those that the network needs and that the tokenizer is the
    /// model's; the token to pad with.
    ///
    /// # Errors
    /// If a tensor is missing, unknown or of another shape, or the tokenizer does not fit.
    pub(crate) fn check(&self) -> Result<u32, ImportError> {
        self.check_tensors()?;
        let Network { embedding, attention, .. } = &self.network;
        self.tokenizer.check(&self.info, embedding.segments, attention.causal, self.padding)
    }

    fn check_tensors(&self) -> Result<(), ImportError> {
        let mut given: std::collections::HashMap<&str, &[usize]> =
            self.tensors.iter().map(|tensor| (&*tensor.name, &*tensor.shape)).collect();
        let wrong = |name: String, problem: String| ImportError::Tensor { name, problem };
        for slot in layout(&self.network, &self.info) {
            match given.remove(&*slot.name) {
                Some(shape) if shape == slot.shape => {}
                None if slot.optional => {}
                None => return Err(wrong(slot.name, "is missing".to_owned())),
                Some(shape) => {
                    let problem = format!("is {shape:?}, expected {:?}", slot.shape);
                    return Err(wrong(slot.name, problem));
                }
            }
        }
        match given.into_keys().min() {
            None => Ok(()),
            Some(name) => {
                Err(wrong(name.to_owned(), "has no place in the model's architecture".to_owned()))
            }
        }
    }
}

impl TokenizerSource {
    /// Checks that the tokenizer is that of the model `info`, which tells `segments` segments apart;
    /// the token to pad with: `padding` if the model names one.
    ///
    /// # Errors
    /// If it is not, or there is nothing to pad with that changes nothing.
    pub(crate) fn check(
        &self,
        info: &BackboneInfo,
        segments: usize,
        causal: bool,
        padding: Option<u32>,
    ) -> Result<u32, ImportError> {
        let path = &self.path;
        let wrong = |problem: String| ImportError::Tokenizer { path: path.clone(), problem };
        let tokenizer = BundleTokenizer::parse(path, &self.json, info.max_tokens)?;
        if tokenizer.vocabulary() > info.vocabulary {
            return Err(wrong(format!(
                "has token ids up to {}, but the model embeds {} tokens; it is not this model's",
                tokenizer.vocabulary() - 1,
                info.vocabulary
            )));
        }
        let pair = tokenizer.encode("a", Some("b"))?.tokens;
        // A model that tells no segments apart is not told any.
        if let Some(segment) =
            pair.segments.iter().find(|&&id| segments > 0 && id as usize >= segments)
        {
            return Err(wrong(format!(
                "puts the second text of a pair into segment {segment}, but the model has {segments}"
            )));
        }
        // Nothing that counts depends on the padding of a causal model: what is to the right of a
        // token never reaches it.
        let any = causal.then_some(0);
        let padding = padding.or_else(|| tokenizer.id("[PAD]")).or(any).ok_or_else(|| {
            wrong("has no token [PAD], and config.json has no `pad_token_id`".to_owned())
        })?;
        if padding as usize >= info.vocabulary {
            return Err(wrong(format!(
                "pads with token {padding}, but the model embeds {} tokens",
                info.vocabulary
            )));
        }
        Ok(padding)
    }
}
