//! GPT-2 (Radford et al. 2019): a decoder with learned positions and layer norms before attention and
//! feed-forward part. Its matrices are kept `[inputs, outputs]`, and those of query, key and value are
//! one.

use mobillm_core::backbone::Pooling;
use serde::Deserialize;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::head::vocabulary;
use super::hugging_face::{Model, Sizes, padding};
use super::names::Origin::{Same, Third, Transposed};
use super::names::{Biases, Names, Origin};
use crate::network::{Embedding, FeedForward, Network, Norm, NormKind, Placement, Positions};

#[derive(Deserialize)]
struct Gpt2Config {
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    n_positions: usize,
    #[serde(default = "gelu_new")]
    activation_function: String,
    #[serde(default = "epsilon")]
    layer_norm_epsilon: f32,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    pad_token_id: Option<i64>,
}

fn gelu_new() -> String {
    "gelu_new".to_owned()
}

fn epsilon() -> f32 {
    1e-5
}

fn yes() -> bool {
    true
}

const DECODER: &[(&str, Origin)] = &[
    ("embedding.tokens", Same("wte")),
    ("embedding.positions", Same("wpe")),
    ("layers.N.attention.norm", Same("h.N.ln_1")),
    ("layers.N.attention.query", Third("h.N.attn.c_attn", 0)),
    ("layers.N.attention.key", Third("h.N.attn.c_attn", 1)),
    ("layers.N.attention.value", Third("h.N.attn.c_attn", 2)),
    ("layers.N.attention.output", Transposed("h.N.attn.c_proj")),
    ("layers.N.feed_forward.norm", Same("h.N.ln_2")),
    ("layers.N.feed_forward.up", Transposed("h.N.mlp.c_fc")),
    ("layers.N.feed_forward.down", Transposed("h.N.mlp.c_proj")),
    ("norm", Same("ln_f")),
    ("head.vocabulary", Same("lm_head")),
];

/// A `model_type` "gpt2".
pub(super) fn gpt2(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let gpt2: Gpt2Config = config.parse()?;
    let (hidden, heads) = (("n_embd", gpt2.n_embd), ("n_head", gpt2.n_head));
    config.check_sizes(&[
        ("vocab_size", gpt2.vocab_size),
        ("n_layer", gpt2.n_layer),
        ("n_inner", gpt2.n_inner.unwrap_or(1)),
        ("n_positions", gpt2.n_positions),
        hidden,
        heads,
    ])?;
    config.check_epsilon("layer_norm_epsilon", gpt2.layer_norm_epsilon)?;
    let attention = config.attention(hidden, heads, true)?;
    let hidden = hidden.1;
    let activation = config.activation("activation_function", &gpt2.activation_function)?;
    Ok(Model {
        sizes: Sizes {
            layers: gpt2.n_layer,
            hidden,
            vocabulary: gpt2.vocab_size,
            max_tokens: gpt2.n_positions,
            pooling: Pooling::LastToken,
        },
        network: Network {
            embedding: Embedding {
                width: hidden,
                positions: Positions::Learned { rows: gpt2.n_positions, offset: 0 },
                segments: 0,
                normed: false,
            },
            attention,
            feed_forward: FeedForward {
                inner: gpt2.n_inner.unwrap_or(4 * hidden),
                activation,
                gated: false,
            },
            norm: Norm { kind: NormKind::Layer, epsilon: gpt2.layer_norm_epsilon },
            placement: Placement::Before,
            final_norm: true,
            head: vocabulary(config, checkpoint, "wte.weight", gpt2.tie_word_embeddings)?,
        },
        padding: padding(gpt2.pad_token_id, gpt2.vocab_size),
        own_labels: None,
        names: Names {
            stems: DECODER.to_vec(),
            biases: Biases::ALL,
            body: &["h.", "wte.", "wpe.", "ln_f."],
        },
    })
}
