//! BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): bidirectional encoders with learned absolute
//! positions and a layer norm behind each residual sum.
//!
//! The head of `BertForSequenceClassification` is `classifier(tanh(pooler(h)))`, where `h` is the last
//! hidden state of the first token and both are affine; that of `RobertaForSequenceClassification` has
//! other names. The dropout between them is for training only.
//!
//! RoBERTa counts positions from behind its padding token's id. (It also leaves padding tokens within a
//! text uncounted; no tokenizer makes any there.)

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

/// What it leaves out is what `transformers` assumes.
#[derive(Deserialize)]
struct BertConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    pad_token_id: Option<u32>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn two() -> usize {
    2
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn epsilon() -> f32 {
    1e-12
}

const ENCODER: &[(&str, Origin)] = &[
    ("embedding.tokens", Same("embeddings.word_embeddings")),
    ("embedding.positions", Same("embeddings.position_embeddings")),
    ("embedding.segments", Same("embeddings.token_type_embeddings")),
    ("embedding.norm", Same("embeddings.LayerNorm")),
    ("layers.N.attention.query", Same("encoder.layer.N.attention.self.query")),
    ("layers.N.attention.key", Same("encoder.layer.N.attention.self.key")),
    ("layers.N.attention.value", Same("encoder.layer.N.attention.self.value")),
    ("layers.N.attention.output", Same("encoder.layer.N.attention.output.dense")),
    ("layers.N.attention.norm", Same("encoder.layer.N.attention.output.LayerNorm")),
    ("layers.N.feed_forward.up", Same("encoder.layer.N.intermediate.dense")),
    ("layers.N.feed_forward.down", Same("encoder.layer.N.output.dense")),
    ("layers.N.feed_forward.norm", Same("encoder.layer.N.output.LayerNorm")),
];

const BERT_HEAD: Classifier = Classifier {
    class: "BertForSequenceClassification",
    dense: "pooler.dense",
    output: "classifier",
    activation: Activation::Tanh,
};

const ROBERTA_HEAD: Classifier = Classifier {
    class: "RobertaForSequenceClassification",
    dense: "classifier.dense",
    output: "classifier.out_proj",
    activation: Activation::Tanh,
};

/// A `model_type` "bert".
pub(super) fn bert(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let bert: BertConfig = config.parse()?;
    encoder(config, checkpoint, bert, 0, &BERT_HEAD)
}

/// A `model_type` "roberta".
pub(super) fn roberta(config: &Config, checkpoint: &Checkpoint) -> Result<Model, ImportError> {
    let mut roberta: BertConfig = config.parse()?;
    let offset = *roberta.pad_token_id.get_or_insert(1) as usize + 1;
    encoder(config, checkpoint, roberta, offset, &ROBERTA_HEAD)
}

fn encoder(
    config: &Config,
    checkpoint: &Checkpoint,
    bert: BertConfig,
    offset: usize,
    head: &Classifier,
) -> Result<Model, ImportError> {
    let heads = ("num_attention_heads", bert.num_attention_heads);
    let hidden = ("hidden_size", bert.hidden_size);
    let rows = ("max_position_embeddings", bert.max_position_embeddings);
    config.check_sizes(&[
        ("vocab_size", bert.vocab_size),
        ("num_hidden_layers", bert.num_hidden_layers),
        ("intermediate_size", bert.intermediate_size),
        ("type_vocab_size", bert.type_vocab_size),
        hidden,
        heads,
        rows,
    ])?;
    config.check_epsilon("layer_norm_eps", bert.layer_norm_eps)?;
    let attention = config.attention(hidden, heads, false)?;
    let kind = bert.position_embedding_type.as_deref().unwrap_or("absolute");
    if kind != "absolute" {
        let problem = format!("`position_embedding_type` is {kind:?}, only \"absolute\" is known");
        return Err(config.wrong(problem));
    }
    if bert.is_decoder {
        return Err(config.wrong("`is_decoder` is true, expected an encoder"));
    }
    let (rows, hidden) = (rows.1, hidden.1);
    let max_tokens = rows.checked_sub(offset).filter(|tokens| *tokens > 0).ok_or_else(|| {
        config
            .wrong(format!("`max_position_embeddings` is {rows}, but positions start at {offset}"))
    })?;
    let activation = config.activation("hidden_act", &bert.hidden_act)?;
    let stems = [ENCODER, &head.stems()].concat();
    let (head, own_labels) = classifier(config, checkpoint, head, hidden)?;
    Ok(Model {
        sizes: Sizes {
            layers: bert.num_hidden_layers,
            hidden,
            vocabulary: bert.vocab_size,
            max_tokens,
            pooling: Pooling::FirstToken,
        },
        network: Network {
            embedding: Embedding {
                width: hidden,
                positions: Positions::Learned { rows, offset },
                segments: bert.type_vocab_size,
                normed: true,
            },
            attention,
            feed_forward: FeedForward { inner: bert.intermediate_size, activation, gated: false },
            norm: Norm { kind: NormKind::Layer, epsilon: bert.layer_norm_eps },
            placement: Placement::After,
            final_norm: false,
            head,
        },
        padding: bert.pad_token_id,
        own_labels,
        names: Names { stems, biases: Biases::ALL, body: &["embeddings.", "encoder."] },
    })
}
