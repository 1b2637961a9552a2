//! Models as Hugging Face `transformers` saves them: `config.json`, safetensors, `tokenizer.json`.
//!
//! An importer of a family says what network a config describes and what the family calls its tensors.
//! Which tensors the network has, and of what shapes, follows from the network.

use std::path::Path;

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_weights::WeightFormat;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::names::{Names, collect};
use super::source::{Source, TokenizerSource};
use super::{ImportError, bert, distilbert, gpt2, llama, opt, read, sentence};
use crate::manifest::TOKENIZER;
use crate::network::Network;

/// What a family's importer makes of a config.
pub(super) struct Model {
    pub(super) sizes: Sizes,
    pub(super) network: Network,
    /// The token to pad with, if the config names one.
    pub(super) padding: Option<u32>,
    /// Names of a classifier's outputs.
    pub(super) own_labels: Option<Vec<String>>,
    pub(super) names: Names,
}

/// Sizes of a model that its network does not tell.
pub(super) struct Sizes {
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) vocabulary: usize,
    pub(super) max_tokens: usize,
    /// Which tokens enter the loss unless another file of the model says so.
    pub(super) pooling: Pooling,
}

type Importer = fn(&Config, &Checkpoint) -> Result<Model, ImportError>;

/// A family's `model_type`, what classes with a head put before the names of its tensors, and its
/// importer.
const FAMILIES: &[(&str, &str, Importer)] = &[
    ("bert", "bert.", bert::bert),
    ("roberta", "roberta.", bert::roberta),
    ("distilbert", "distilbert.", distilbert::distilbert),
    ("gpt2", "transformer.", gpt2::gpt2),
    ("opt", "model.", opt::opt),
    ("llama", "model.", llama::llama),
    ("mistral", "model.", llama::mistral),
    ("qwen2", "model.", llama::qwen2),
    ("qwen3", "model.", llama::qwen3),
];

/// The families, for people.
pub(super) fn known_architectures() -> String {
    let names: Vec<String> = FAMILIES.iter().map(|(name, ..)| format!("{name:?}")).collect();
    names.join(", ")
}

/// Reads all of the model in `folder` but its weights.
///
/// # Errors
/// If a file is missing or damaged, the family is not known, or config and weights contradict each other.
pub(crate) fn model(folder: &Path) -> Result<Source, ImportError> {
    let config = Config::read(&folder.join("config.json"))?;
    let got = config.model_type()?;
    let Some(&(architecture, prefix, importer)) = FAMILIES.iter().find(|(name, ..)| *name == got)
    else {
        return Err(ImportError::Architecture { path: config.path().to_owned(), got });
    };
    let checkpoint = Checkpoint::open(folder, prefix)?;
    let Model { sizes, network, padding, own_labels, names } = importer(&config, &checkpoint)?;
    if network.attention.causal && !config.is_causal()? {
        return Err(
            config.wrong("`is_causal` is false, expected a decoder whose tokens see no later ones")
        );
    }
    let sentence = sentence::read(folder)?;
    let (own_outputs, language_head) = network.answers();
    let limit = sentence.max_tokens.unwrap_or(sizes.max_tokens);
    let info = BackboneInfo {
        architecture: architecture.to_owned(),
        layers: sizes.layers,
        hidden: sizes.hidden,
        max_tokens: limit.min(sizes.max_tokens),
        vocabulary: sizes.vocabulary,
        pooling: sentence.pooling.unwrap_or(sizes.pooling),
        own_outputs,
        language_head,
        bundle: Fingerprint([0; 32]),
    };
    let tensors = collect(&network, &info, &names, &checkpoint)?;
    let tokenizer = tokenizer(&folder.join(TOKENIZER))?;
    let weights = WeightFormat::F32;
    let path = folder.to_owned();
    Ok(Source { path, info, network, padding, own_labels, weights, tokenizer, tensors })
}

/// Reads the `tokenizer.json` at `path`.
///
/// # Errors
/// If there is none.
pub(super) fn tokenizer(path: &Path) -> Result<TokenizerSource, ImportError> {
    if !path.exists() {
        return Err(ImportError::Missing {
            path: path.to_owned(),
            remedy: "save it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`",
        });
    }
    Ok(TokenizerSource { path: path.to_owned(), json: read(path)? })
}

/// The `pad_token_id` of a decoder, if it is a token: some name one that is not.
pub(super) fn padding(pad_token_id: Option<i64>, vocabulary: usize) -> Option<u32> {
    pad_token_id.and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < vocabulary)
}
