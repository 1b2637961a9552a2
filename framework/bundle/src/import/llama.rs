//! Llama (Touvron et al. 2023) and its relatives: decoders with rotary positions, RMS norms before
//! attention and feed-forward part, a gated feed-forward part, and often fewer heads of keys than of
//! queries.
//!
//! SmolLM and TinyLlama are Llamas by name. Mistral lets a token see a window of those before it, Qwen2
//! has biases on queries, keys and values, Qwen3 norms queries and keys.
//!
//! As long as a text is no longer than the window, attention is that over all tokens before: a model
//! with a window takes that many tokens.

use mobillm_core::backbone::Pooling;
use serde::Deserialize;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::head::vocabulary;
use super::hugging_face::{Model, Sizes, padding};
use super::names::Origin::Same;
use super::names::{Biases, Names, Origin};
use super::rope::rotary;
use crate::network::{
    Attention, Embedding, FeedForward, Network, Norm, NormKind, Placement, Positions,
};

/// What all of them have; what it leaves out is what `transformers` assumes.
#[derive(Deserialize)]
struct LlamaConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "silu")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "epsilon")]
    rms_norm_eps: f32,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// Left out it is 4096, and none only if it is null.
    #[serde(default = "window")]
    sliding_window: Option<usize>,
    #[serde(default)]
    use_sliding_window: bool,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    pad_token_id: Option<i64>,
}

fn silu() -> String {
    "silu".to_owned()
}

fn epsilon() -> f32 {
    1e-6
}

fn window() -> Option<usize> {
    Some(4096)
}

/// In what a relative differs.
struct Relative {
    biases: Biases,
    /// Whether queries and keys are normed.
    normed: bool,
    /// The window that tokens see, if any layer has one.
    window: Option<usize>,
}

const DECODER: &[(&str, Origin)] = &[
    ("embedding.tokens", Same("embed_tokens")),
    ("layers.N.attention.norm", Same("layers.N.input_layernorm")),
    ("layers.N.attention.query", Same("layers.N.self_attn.q_proj")),
    ("layers.N.attention.key", Same("layers.N.self_attn.k_proj")),
    ("layers.N.attention.value", Same("layers.N.self_attn.v_proj")),
    ("layers.N.attention.query_norm", Same("layers.N.self_attn.q_norm")),
    ("layers.N.attention.key_norm", Same("layers.N.self_attn.k_norm")),
    ("layers.N.attention.output", Same("layers.N.self_attn.o_proj")),
    ("layers.N.feed_forward.norm", Same("layers.N.post_attention_layernorm")),
    ("layers.N.feed_forward.gate", Same("layers.N.mlp.gate_proj")),
    ("layers.N.feed_forward.up", Same("layers.N.mlp.up_proj")),
    ("layers.N.feed_forward.down", Same("layers.N.mlp.down_proj")),
    ("norm", Same("norm")),
    ("head.vocabulary", Same("lm_head")),
];

/// A `model_type` "llama".
pub(super) fn llama(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let mut llama: LlamaConfig = config.parse()?;
    llama.num_key_value_heads.get_or_insert(llama.num_attention_heads);
    let biases = Biases { feed_forward: llama.mlp_bias, ..Biases::all(llama.attention_bias) };
    let window = llama.window_of_layer_types(config)?;
    decoder(config, checkpoint, llama, Relative { biases, normed: false, window })
}

/// A `model_type` "mistral".
pub(super) fn mistral(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let mistral: LlamaConfig = config.parse()?;
    let biases = Biases::all(false);
    let window = match &mistral.layer_types {
        Some(_) => mistral.window_of_layer_types(config)?,
        None => mistral.sliding_window,
    };
    decoder(config, checkpoint, mistral, Relative { biases, normed: false, window })
}

/// A `model_type` "qwen2".
pub(super) fn qwen2(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let qwen2: LlamaConfig = config.parse()?;
    let biases = Biases { query_key_value: true, ..Biases::all(false) };
    let window = qwen2.window_of_last_layers(config)?;
    decoder(config, checkpoint, qwen2, Relative { biases, normed: false, window })
}

/// A `model_type` "qwen3".
pub(super) fn qwen3(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let mut qwen3: LlamaConfig = config.parse()?;
    qwen3.head_dim.get_or_insert(128);
    let biases = Biases { feed_forward: false, ..Biases::all(qwen3.attention_bias) };
    let window = qwen3.window_of_last_layers(config)?;
    decoder(config, checkpoint, qwen3, Relative { biases, normed: true, window })
}

impl LlamaConfig {
    /// The window, if `layer_types` gives one to any layer.
    fn window_of_layer_types(&self, config: &Config) -> Result<Option<usize>, ImportError> {
        let kinds = self.layer_types.as_deref().unwrap_or_default();
        let known =
            |kind: &&String| ["full_attention", "sliding_attention"].contains(&kind.as_str());
        if let Some(kind) = kinds.iter().find(|kind| !known(kind)) {
            return Err(config.wrong(format!(
                "`layer_types` has {kind:?}, expected \"full_attention\" or \"sliding_attention\""
            )));
        }
        if !kinds.iter().any(|kind| kind == "sliding_attention") {
            return Ok(None);
        }
        let window = self.sliding_window.ok_or_else(|| {
            config.wrong("`layer_types` has \"sliding_attention\", but `sliding_window` is null")
        })?;
        Ok(Some(window))
    }

    /// The window of Qwen, which without `layer_types` is that of the layers behind the first
    /// `max_window_layers`.
    fn window_of_last_layers(&self, config: &Config) -> Result<Option<usize>, ImportError> {
        if self.layer_types.is_some() {
            return self.window_of_layer_types(config);
        }
        let first = self.max_window_layers.unwrap_or(28);
        let slides = self.use_sliding_window && first < self.num_hidden_layers;
        Ok(self.sliding_window.filter(|_| slides))
    }
}

fn decoder(
    config: &Config,
    checkpoint: &Checkpoint,
    llama: LlamaConfig,
    Relative { biases, normed, window }: Relative,
) -> Result<Model, ImportError> {
    let hidden = ("hidden_size", llama.hidden_size);
    let heads = ("num_attention_heads", llama.num_attention_heads);
    let key_heads = llama.num_key_value_heads.ok_or_else(|| {
        config.wrong("`num_key_value_heads` is missing, expected the number of heads of keys")
    })?;
    let key_heads = ("num_key_value_heads", key_heads);
    config.check_sizes(&[
        ("vocab_size", llama.vocab_size),
        ("intermediate_size", llama.intermediate_size),
        ("num_hidden_layers", llama.num_hidden_layers),
        ("max_position_embeddings", llama.max_position_embeddings),
        ("head_dim", llama.head_dim.unwrap_or(1)),
        ("sliding_window", window.unwrap_or(1)),
        hidden,
        heads,
        key_heads,
    ])?;
    config.check_epsilon("rms_norm_eps", llama.rms_norm_eps)?;
    config.divide(heads, key_heads)?;
    let head_width = match llama.head_dim {
        Some(width) => width,
        None => config.divide(hidden, heads)?,
    };
    let activation = config.activation("hidden_act", &llama.hidden_act)?;
    let max_tokens = llama.max_position_embeddings;
    Ok(Model {
        sizes: Sizes {
            layers: llama.num_hidden_layers,
            hidden: hidden.1,
            vocabulary: llama.vocab_size,
            max_tokens: window.map_or(max_tokens, |window| window.min(max_tokens)),
            pooling: Pooling::LastToken,
        },
        network: Network {
            embedding: Embedding {
                width: hidden.1,
                positions: Positions::None,
                segments: 0,
                normed: false,
            },
            attention: Attention {
                heads: heads.1,
                key_heads: key_heads.1,
                head_width,
                causal: true,
                normed,
                rotary: Some(rotary(config, head_width)?),
            },
            feed_forward: FeedForward { inner: llama.intermediate_size, activation, gated: true },
            norm: Norm { kind: NormKind::Rms, epsilon: llama.rms_norm_eps },
            placement: Placement::Before,
            final_norm: true,
            head: vocabulary(config, checkpoint, "embed_tokens.weight", llama.tie_word_embeddings)?,
        },
        padding: padding(llama.pad_token_id, llama.vocab_size),
        own_labels: None,
        names: Names {
            stems: DECODER.to_vec(),
            biases,
            body: &["layers.", "embed_tokens.", "norm."],
        },
    })
}
