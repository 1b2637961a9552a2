//! `config.json`, read strictly where it bears on what is computed.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ImportError, read_json};
use crate::network::{Activation, Attention};

/// The `config.json` of a model.
pub(super) struct Config {
    path: PathBuf,
    value: Value,
}

/// What a key that a family does not know must be, so that it changes nothing.
enum Neutral {
    Absent,
    Bool(bool),
    One,
    Empty,
}

impl Neutral {
    fn holds(&self, value: &Value) -> bool {
        match self {
            _ if value.is_null() => true,
            Self::Absent => false,
            Self::Bool(expected) => value.as_bool() == Some(*expected),
            Self::One => value.as_f64() == Some(1.0),
            Self::Empty => value.as_object().is_some_and(serde_json::Map::is_empty),
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Absent => "no such key",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::One => "1",
            Self::Empty => "{}",
        }
    }
}

/// Keys by which models that call themselves by a known name compute something else.
const NEUTRAL: &[(&str, Neutral)] = &[
    ("add_cross_attention", Neutral::Bool(false)),
    ("alibi", Neutral::Bool(false)),
    ("attention_multiplier", Neutral::Absent),
    ("attn_logit_softcapping", Neutral::Absent),
    ("auto_map", Neutral::Absent),
    ("embedding_multiplier", Neutral::One),
    ("final_logit_softcapping", Neutral::Absent),
    ("is_encoder_decoder", Neutral::Bool(false)),
    ("layer_norm_elementwise_affine", Neutral::Bool(true)),
    ("logit_scale", Neutral::One),
    ("logits_scaling", Neutral::One),
    ("no_rope_layers", Neutral::Absent),
    ("num_experts", Neutral::Absent),
    ("num_local_experts", Neutral::Absent),
    ("parallel_residual", Neutral::Bool(false)),
    ("partial_rotary_factor", Neutral::One),
    ("pruned_heads", Neutral::Empty),
    ("qk_layernorm", Neutral::Bool(false)),
    ("quantization_config", Neutral::Absent),
    ("query_pre_attn_scalar", Neutral::Absent),
    ("residual_multiplier", Neutral::One),
    ("rope_interleaved", Neutral::Bool(false)),
    ("rotary_pct", Neutral::One),
    ("scale_attn_by_inverse_layer_idx", Neutral::Bool(false)),
    ("scale_attn_weights", Neutral::Bool(true)),
    ("use_bidirectional_attention", Neutral::Bool(false)),
    ("use_parallel_residual", Neutral::Bool(false)),
    ("use_qk_norm", Neutral::Bool(false)),
];

/// Names of activations, as `transformers` gives them.
const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_python", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If there is none, or if it asks for what no importer knows.
    pub(super) fn read(path: &Path) -> Result<Self, ImportError> {
        let config = Self::beside_graph(path)?;
        for (key, neutral) in NEUTRAL {
            if let Some(value) = config.value.get(key).filter(|value| !neutral.holds(value)) {
                let expected = neutral.expected();
                return Err(config.wrong(format!(
                    "`{key}` is {value}, expected {expected}; models with it compute what mobillm does \
                     not know"
                )));
            }
        }
        Ok(config)
    }

    /// Reads the file at `path`, beside a graph that says itself what is computed.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn beside_graph(path: &Path) -> Result<Self, ImportError> {
        Ok(Self { path: path.to_owned(), value: read_json(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that `T` knows.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ImportError> {
        T::deserialize(&self.value).map_err(|error| self.wrong(error.to_string()))
    }

    /// The model's `model_type`.
    pub(super) fn model_type(&self) -> Result<String, ImportError> {
        #[derive(Deserialize)]
        struct ModelType {
            model_type: String,
        }

        self.parse().map(|ModelType { model_type }| model_type)
    }

    /// Whether a decoder's tokens see only themselves and those before them.
    pub(super) fn is_causal(&self) -> Result<bool, ImportError> {
        #[derive(Deserialize)]
        struct Causal {
            is_causal: Option<bool>,
        }

        self.parse().map(|Causal { is_causal }| is_causal.unwrap_or(true))
    }

    /// The classes that the model was saved from, if it says so.
    pub(super) fn classes(&self) -> Result<Option<Vec<String>>, ImportError> {
        #[derive(Deserialize)]
        struct Classes {
            architectures: Option<Vec<String>>,
        }

        self.parse().map(|Classes { architectures }| architectures)
    }

    pub(super) fn wrong(&self, problem: impl Into<String>) -> ImportError {
        ImportError::Config { path: self.path.clone(), problem: problem.into() }
    }

    /// Checks that the sizes are at least 1, and so small that the product of two is a number.
    pub(super) fn check_sizes(&self, sizes: &[(&str, usize)]) -> Result<(), ImportError> {
        let most = u32::MAX as usize;
        match sizes.iter().find(|(_, size)| !(1..=most).contains(size)) {
            None => Ok(()),
            Some((key, 0)) => Err(self.wrong(format!("`{key}` is 0, expected at least 1"))),
            Some((key, size)) => {
                Err(self.wrong(format!("`{key}` is {size}, expected at most {most}")))
            }
        }
    }

    /// Checks what a norm adds below its root.
    pub(super) fn check_epsilon(&self, key: &str, epsilon: f32) -> Result<(), ImportError> {
        if (0.0..1.0).contains(&epsilon) {
            return Ok(());
        }
        Err(self.wrong(format!("`{key}` is {epsilon}, expected a number from 0 to 1")))
    }

    /// `whole / part`, if it is a whole number.
    pub(super) fn divide(
        &self,
        (key, whole): (&str, usize),
        (part_key, part): (&str, usize),
    ) -> Result<usize, ImportError> {
        if whole.is_multiple_of(part) {
            return Ok(whole / part);
        }
        Err(self.wrong(format!("`{key}` {whole} is not a multiple of `{part_key}` {part}")))
    }

    /// Attention of as many heads of keys as of queries, which share the hidden state.
    pub(super) fn attention(
        &self,
        hidden: (&str, usize),
        heads: (&str, usize),
        causal: bool,
    ) -> Result<Attention, ImportError> {
        let head_width = self.divide(hidden, heads)?;
        let heads = heads.1;
        Ok(Attention { heads, key_heads: heads, head_width, causal, normed: false, rotary: None })
    }

    /// The activation that `key` names.
    pub(super) fn activation(&self, key: &str, name: &str) -> Result<Activation, ImportError> {
        let found = ACTIVATIONS.iter().find(|(known, _)| *known == name);
        found.map(|(_, activation)| *activation).ok_or_else(|| {
            let known: Vec<&str> = ACTIVATIONS.iter().map(|(known, _)| *known).collect();
            let known = known.join(", ");
            self.wrong(format!("`{key}` is {name:?}, expected one of {known}"))
        })
    }
}
