//! OPT (Zhang et al. 2022): a decoder with learned positions, which start at row 2 of their table.
//!
//! Norms stand before attention and feed-forward part. In OPT-350M they stand behind, nothing norms the
//! last hidden state, and embeddings of another width are projected to the hidden size and back.

use mobillm_core::backbone::Pooling;
use serde::Deserialize;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::head::vocabulary;
use super::hugging_face::{Model, Sizes, padding};
use super::names::Origin::Same;
use super::names::{Biases, Names, Origin};
use crate::network::{Embedding, FeedForward, Network, Norm, NormKind, Placement, Positions};

/// Rows of the table of positions that no token gets.
const OFFSET: usize = 2;

#[derive(Deserialize)]
struct OptConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    ffn_dim: usize,
    max_position_embeddings: usize,
    word_embed_proj_dim: Option<usize>,
    #[serde(default = "yes")]
    do_layer_norm_before: bool,
    #[serde(default, rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: bool,
    #[serde(default = "relu")]
    activation_function: String,
    #[serde(default = "yes")]
    enable_bias: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    pad_token_id: Option<i64>,
}

fn yes() -> bool {
    true
}

fn relu() -> String {
    "relu".to_owned()
}

const DECODER: &[(&str, Origin)] = &[
    ("embedding.tokens", Same("decoder.embed_tokens")),
    ("embedding.positions", Same("decoder.embed_positions")),
    ("embedding.projection", Same("decoder.project_in")),
    ("layers.N.attention.norm", Same("decoder.layers.N.self_attn_layer_norm")),
    ("layers.N.attention.query", Same("decoder.layers.N.self_attn.q_proj")),
    ("layers.N.attention.key", Same("decoder.layers.N.self_attn.k_proj")),
    ("layers.N.attention.value", Same("decoder.layers.N.self_attn.v_proj")),
    ("layers.N.attention.output", Same("decoder.layers.N.self_attn.out_proj")),
    ("layers.N.feed_forward.norm", Same("decoder.layers.N.final_layer_norm")),
    ("layers.N.feed_forward.up", Same("decoder.layers.N.fc1")),
    ("layers.N.feed_forward.down", Same("decoder.layers.N.fc2")),
    ("norm", Same("decoder.final_layer_norm")),
    ("head.projection", Same("decoder.project_out")),
    ("head.vocabulary", Same("lm_head")),
];

/// A `model_type` "opt".
pub(super) fn opt(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let opt: OptConfig = config.parse()?;
    let hidden = ("hidden_size", opt.hidden_size);
    let heads = ("num_attention_heads", opt.num_attention_heads);
    let width = opt.word_embed_proj_dim.unwrap_or(opt.hidden_size);
    config.check_sizes(&[
        ("vocab_size", opt.vocab_size),
        ("num_hidden_layers", opt.num_hidden_layers),
        ("ffn_dim", opt.ffn_dim),
        ("max_position_embeddings", opt.max_position_embeddings),
        ("word_embed_proj_dim", width),
        hidden,
        heads,
    ])?;
    let attention = config.attention(hidden, heads, true)?;
    let hidden = hidden.1;
    let activation = config.activation("activation_function", &opt.activation_function)?;
    let embedding = "decoder.embed_tokens.weight";
    let before = opt.do_layer_norm_before;
    Ok(Model {
        sizes: Sizes {
            layers: opt.num_hidden_layers,
            hidden,
            vocabulary: opt.vocab_size,
            max_tokens: opt.max_position_embeddings,
            pooling: Pooling::LastToken,
        },
        network: Network {
            embedding: Embedding {
                width,
                positions: Positions::Learned {
                    rows: opt.max_position_embeddings + OFFSET,
                    offset: OFFSET,
                },
                segments: 0,
                normed: false,
            },
            attention,
            feed_forward: FeedForward { inner: opt.ffn_dim, activation, gated: false },
            norm: Norm { kind: NormKind::Layer, epsilon: 1e-5 },
            placement: if before { Placement::Before } else { Placement::After },
            final_norm: before && !opt.remove_final_layer_norm,
            head: vocabulary(config, checkpoint, embedding, opt.tie_word_embeddings)?,
        },
        padding: padding(opt.pad_token_id, opt.vocab_size),
        own_labels: None,
        names: Names {
            stems: DECODER.to_vec(),
            biases: Biases::all(opt.enable_bias),
            body: &["decoder."],
        },
    })
}
