//! What `config.json` says of the model of a foreign graph, whatever its family calls it.

use mobillm_core::backbone::Pooling;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::ImportError;
use super::super::config::Config;

/// Encoders that count positions from one behind the padding token.
const OFFSET_POSITIONS: &[&str] =
    &["camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta", "xmod"];

/// Other families of encoders, for classes whose name does not say it.
const ENCODERS: &[&str] = &[
    "albert",
    "bert",
    "big_bird",
    "convbert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "eurobert",
    "megatron-bert",
    "mobilebert",
    "modernbert",
    "nomic_bert",
    "rembert",
    "roformer",
    "squeezebert",
];

/// Families of decoders, for classes whose name does not say it.
const DECODERS: &[&str] = &[
    "bloom",
    "codegen",
    "cohere",
    "falcon",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "granite",
    "llama",
    "mistral",
    "mpt",
    "olmo",
    "olmo2",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
    "stablelm",
    "starcoder2",
];

/// A key of the config and its number.
type Number = (&'static str, usize);

/// What the config says.
pub(super) struct Keys {
    pub(super) family: Option<String>,
    pub(super) classes: Vec<String>,
    /// The token to pad with.
    pub(super) padding: Option<u32>,
    pub(super) layers: Option<Number>,
    hidden: Option<Number>,
    vocabulary: Option<Number>,
    /// Rows of the table of positions.
    positions: Option<Number>,
}

#[derive(Deserialize)]
struct Plain {
    model_type: Option<String>,
    /// -1 if there is none.
    pad_token_id: Option<i64>,
}

impl Keys {
    /// Reads what is known of `config`.
    ///
    /// # Errors
    /// If a key is not of its type.
    pub(super) fn read(config: &Config) -> Result<Self, ImportError> {
        let values: Map<String, Value> = config.parse()?;
        let number = |keys: &[&'static str]| {
            let given = |key: &&&'static str| values.get(**key).filter(|value| !value.is_null());
            let Some((key, value)) = keys.iter().find_map(|key| Some((*key, given(&key)?))) else {
                return Ok(None);
            };
            match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
                Some(value) => Ok(Some((key, value))),
                None => Err(config.wrong(format!("`{key}` is {value}, expected a size"))),
            }
        };
        let Plain { model_type, pad_token_id } = config.parse()?;
        Ok(Self {
            family: model_type,
            classes: config.classes()?.unwrap_or_default(),
            padding: pad_token_id.and_then(|id| u32::try_from(id).ok()),
            layers: number(&["num_hidden_layers", "n_layer", "n_layers", "num_layers"])?,
            hidden: number(&["hidden_size", "n_embd", "dim", "d_model"])?,
            vocabulary: number(&["vocab_size"])?,
            positions: number(&["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"])?,
        })
    }

    /// The position of a text's first token.
    pub(super) fn first_position(&self) -> u32 {
        let offset =
            self.family.as_deref().is_some_and(|family| OFFSET_POSITIONS.contains(&family));
        if offset { self.padding.unwrap_or(1).saturating_add(1) } else { 0 }
    }

    /// Tokens that a text may have, `limit` or less.
    pub(super) fn max_tokens(
        &self,
        config: &Config,
        limit: Option<usize>,
    ) -> Result<usize, ImportError> {
        let skipped = self.first_position() as usize;
        let rows = self.positions.map(|(_, rows)| rows.saturating_sub(skipped));
        match (rows, limit) {
            (Some(0), _) | (_, Some(0)) | (None, None) => Err(config.wrong(
                "`max_position_embeddings` does not say how many tokens a text may have".to_owned(),
            )),
            (Some(rows), Some(limit)) => Ok(rows.min(limit)),
            (Some(only), None) | (None, Some(only)) => Ok(only),
        }
    }

    /// The hidden size: that of the graph, which is `found`, if it is seen there.
    pub(super) fn hidden(
        &self,
        config: &Config,
        found: Option<usize>,
    ) -> Result<usize, ImportError> {
        match (found, self.hidden) {
            (Some(found), Some((key, said))) if said != found => Err(config.wrong(format!(
                "`{key}` is {said}, but the graph's hidden states have {found} values; config.json \
                 and graph are not of one model"
            ))),
            (found, said) => either(config, "hidden_size", found, said),
        }
    }

    /// The number of tokens: that of the rows of the graph's table, `found`, if it is seen there. A table
    /// may have more rows than the model has tokens.
    pub(super) fn vocabulary(
        &self,
        config: &Config,
        found: Option<usize>,
    ) -> Result<usize, ImportError> {
        match (found, self.vocabulary) {
            (Some(found), Some((key, said))) if said > found => Err(config.wrong(format!(
                "`{key}` is {said}, but the graph embeds {found} tokens; config.json and graph are \
                 not of one model"
            ))),
            (found, said) => either(config, "vocab_size", found, said),
        }
    }

    /// Whether tokens see only those before them, and how a text's tokens are pooled if its files do not
    /// say it: `pooling`. A graph is `cached` if it can go on from earlier tokens.
    pub(super) fn direction(
        &self,
        config: &Config,
        cached: bool,
        pooling: Option<Pooling>,
    ) -> Result<(bool, Pooling), ImportError> {
        let is_one = |families: &[&str]| {
            self.family.as_deref().is_some_and(|family| families.contains(&family))
        };
        let ends = |ends: &[&str]| {
            self.classes.iter().any(|class| ends.iter().any(|end| class.ends_with(end)))
        };
        if cached || ends(&["ForCausalLM", "LMHeadModel"]) || is_one(DECODERS) {
            return Ok((true, pooling.unwrap_or(Pooling::LastToken)));
        }
        if ends(&["ForMaskedLM"]) || is_one(ENCODERS) || is_one(OFFSET_POSITIONS) {
            return Ok((false, pooling.unwrap_or(Pooling::FirstToken)));
        }
        let family = self.family.as_deref().unwrap_or("missing");
        let unknown = || {
            config.wrong(format!(
                "`model_type` is {family:?}, which is not known to be an encoder or a decoder, so that \
                 nobody knows which token stands for a text; let `architectures` name a class that \
                 tells (..ForMaskedLM or ..ForCausalLM), or add the modules.json and \
                 1_Pooling/config.json of sentence-transformers"
            ))
        };
        Ok((false, pooling.ok_or_else(unknown)?))
    }
}

fn either(
    config: &Config,
    key: &str,
    found: Option<usize>,
    said: Option<Number>,
) -> Result<usize, ImportError> {
    found
        .or(said.map(|(_, said)| said))
        .ok_or_else(|| config.wrong(format!("has no `{key}`, nor is it seen in the graph")))
}
