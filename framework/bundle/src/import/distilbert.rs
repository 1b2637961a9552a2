//! DistilBERT (Sanh et al. 2019): BERT without segments, under other names. The head of
//! `DistilBertForSequenceClassification` has a ReLU between its maps.

use mobillm_core::backbone::Pooling;
use serde::Deserialize;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::head::{Classifier, classifier};
use super::hugging_face::{Model, Sizes};
use super::names::Origin::Same;
use super::names::{Biases, Names, Origin};
use crate::network::{
    Activation, Embedding, FeedForward, Network, Norm, NormKind, Placement, Positions,
};

#[derive(Deserialize)]
struct DistilBertConfig {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    max_position_embeddings: usize,
    #[serde(default = "gelu")]
    activation: String,
    pad_token_id: Option<u32>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

const ENCODER: &[(&str, Origin)] = &[
    ("embedding.tokens", Same("embeddings.word_embeddings")),
    ("embedding.positions", Same("embeddings.position_embeddings")),
    ("embedding.norm", Same("embeddings.LayerNorm")),
    ("layers.N.attention.query", Same("transformer.layer.N.attention.q_lin")),
    ("layers.N.attention.key", Same("transformer.layer.N.attention.k_lin")),
    ("layers.N.attention.value", Same("transformer.layer.N.attention.v_lin")),
    ("layers.N.attention.output", Same("transformer.layer.N.attention.out_lin")),
    ("layers.N.attention.norm", Same("transformer.layer.N.sa_layer_norm")),
    ("layers.N.feed_forward.up", Same("transformer.layer.N.ffn.lin1")),
    ("layers.N.feed_forward.down", Same("transformer.layer.N.ffn.lin2")),
    ("layers.N.feed_forward.norm", Same("transformer.layer.N.output_layer_norm")),
];

const HEAD: Classifier = Classifier {
    class: "DistilBertForSequenceClassification",
    dense: "pre_classifier",
    output: "classifier",
    activation: Activation::Relu,
};

/// A `model_type` "distilbert".
pub(super) fn distilbert(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let distilbert: DistilBertConfig = config.parse()?;
    let (hidden, heads) = (("dim", distilbert.dim), ("n_heads", distilbert.n_heads));
    let rows = distilbert.max_position_embeddings;
    config.check_sizes(&[
        ("vocab_size", distilbert.vocab_size),
        ("n_layers", distilbert.n_layers),
        ("hidden_dim", distilbert.hidden_dim),
        ("max_position_embeddings", rows),
        hidden,
        heads,
    ])?;
    let attention = config.attention(hidden, heads, false)?;
    let hidden = hidden.1;
    let activation = config.activation("activation", &distilbert.activation)?;
    let (head, own_labels) = classifier(config, checkpoint, &HEAD, hidden)?;
    Ok(Model {
        sizes: Sizes {
            layers: distilbert.n_layers,
            hidden,
            vocabulary: distilbert.vocab_size,
            max_tokens: rows,
            pooling: Pooling::FirstToken,
        },
        network: Network {
            embedding: Embedding {
                width: hidden,
                positions: Positions::Learned { rows, offset: 0 },
                segments: 0,
                normed: true,
            },
            attention,
            feed_forward: FeedForward { inner: distilbert.hidden_dim, activation, gated: false },
            norm: Norm { kind: NormKind::Layer, epsilon: 1e-12 },
            placement: Placement::After,
            final_norm: false,
            head,
        },
        padding: distilbert.pad_token_id,
        own_labels,
        names: Names {
            stems: [ENCODER, &HEAD.stems()].concat(),
            biases: Biases::ALL,
            body: &["embeddings.", "transformer."],
        },
    })
}
