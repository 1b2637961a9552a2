//! What a backbone computes, as data: one description for all families of transformers.
//!
//! An importer translates a foreign model into a [`Network`] and tensors with the names below; the
//! ONNX graph is written from them, and engines that read no graph compute from them.
//!
//! ```text
//! x = tokens[ids] (+ positions) (+ segments)     tap.0, after projection and norm where there are some
//! before:  x = x + attention(norm(x));  x = x + feed_forward(norm(x))      tap.i, i = 1..layers
//! after:   x = norm(x + attention(x));  x = norm(x + feed_forward(x))
//! ```
//!
//! Tensors, all row-major; a linear map is `[outputs, inputs]`, as PyTorch keeps it. Biases are there
//! or not: whoever reads looks.
//!
//! ```text
//! embedding.tokens.weight                            [vocabulary, embedding.width]
//! embedding.positions.weight                         [rows, hidden]             Positions::Learned
//! embedding.segments.weight                          [segments, hidden]         segments > 0
//! embedding.projection.weight                        [hidden, width]            width != hidden
//! embedding.norm.{weight,bias}                       [hidden]                   embedding.normed
//! layers.<i>.attention.norm.{weight,bias}            [hidden]                   i from 0
//! layers.<i>.attention.{query,key,value}.{weight,bias}    [heads * head_width, hidden]
//! layers.<i>.attention.{query_norm,key_norm}.weight  [head_width]               attention.normed
//! layers.<i>.attention.output.{weight,bias}          [hidden, heads * head_width]
//! layers.<i>.feed_forward.norm.{weight,bias}         [hidden]
//! layers.<i>.feed_forward.{gate,up}.{weight,bias}    [inner, hidden]            gate: feed_forward.gated
//! layers.<i>.feed_forward.down.{weight,bias}         [hidden, inner]
//! norm.{weight,bias}                                 [hidden]                   final_norm
//! head.projection.weight                             [width, hidden]            Head::Vocabulary, width != hidden
//! head.vocabulary.weight                             [vocabulary, width]        Head::Vocabulary, unless tied
//! classifier.dense.{weight,bias}                     [hidden, hidden]           Head::Classifier
//! classifier.output.{weight,bias}                    [outputs, hidden]          Head::Classifier
//! ```
//!
//! With norms before, `attention.norm` stands before attention; with norms after, behind its
//! residual sum. Rotary queries and keys are in the order of Hugging Face: the two halves of a head
//! turn against each other.

use serde::{Deserialize, Serialize};

/// A transformer but for its weights and for the sizes in `BackboneInfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Tokens to the first hidden state.
    pub embedding: Embedding,
    /// Attention of every layer.
    pub attention: Attention,
    /// Feed-forward part of every layer.
    pub feed_forward: FeedForward,
    /// Every norm of the network but those of queries and keys, which are [`NormKind::Rms`].
    pub norm: Norm,
    /// Where a layer's norms stand.
    pub placement: Placement,
    /// Whether the last hidden state is normed once more before the head; taps come before that.
    pub final_norm: bool,
    /// What the model itself answers with.
    pub head: Option<Head>,
}

impl Network {
    /// A number that computes nothing: infinite, or none at all.
    pub(crate) fn not_finite(&self) -> Option<f32> {
        let rotary = self.attention.rotary.iter();
        let frequencies = rotary.flat_map(|rotary| &rotary.frequencies);
        frequencies.chain([&self.norm.epsilon]).copied().find(|number| !number.is_finite())
    }

    /// What the head answers with: outputs of a classifier, and whether it scores the vocabulary.
    pub(crate) fn answers(&self) -> (Option<usize>, bool) {
        match self.head {
            None => (None, false),
            Some(Head::Classifier { outputs, .. }) => (Some(outputs), false),
            Some(Head::Vocabulary { .. }) => (None, true),
        }
    }
}

/// Tokens to the first hidden state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Width of a token's embedding; projected to the hidden size where that differs.
    pub width: usize,
    /// Embeddings of positions that are added.
    pub positions: Positions,
    /// Segments that are told apart; 0 for none.
    pub segments: usize,
    /// Whether the sum is normed.
    pub normed: bool,
}

/// Embeddings of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Positions {
    /// None: attention turns queries and keys instead.
    None,
    /// A table; token t gets row t + `offset`.
    Learned {
        /// Rows of the table.
        rows: usize,
        /// Rows that no token gets.
        offset: usize,
    },
}

/// Attention of every layer: scores are scaled by one over the root of `head_width`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / key_heads` heads of queries in a row.
    pub key_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
    /// Whether queries and keys are normed, head by head, before they are turned.
    pub normed: bool,
    /// How queries and keys are turned by position, if they are.
    pub rotary: Option<Rotary>,
}

/// Rotary position embedding (Su et al. 2021): pair p of a head turns by position times
/// `frequencies[p]`; what the base and any scaling of it make of p is in the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotary {
    /// Radians per position, `head_width / 2` of them.
    pub frequencies: Vec<f32>,
}

/// Feed-forward part: `down(activation(up(x)))`, or `down(activation(gate(x)) * up(x))` if gated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedForward {
    /// Width between the maps.
    pub inner: usize,
    /// What stands between them.
    pub activation: Activation,
    /// Whether there is a gate.
    pub gated: bool,
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x times the normal distribution's share below x.
    Gelu,
    /// The same, approximated with tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x times its sigmoid.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

/// A norm over the hidden state of each token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// What is added to the variance or mean square.
    pub epsilon: f32,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Less the mean, over the standard deviation; a weight and a bias.
    Layer,
    /// Over the root of the mean square; a weight.
    Rms,
}

/// Where a layer's norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Before attention and feed-forward part, off the residual path (GPT-2, Llama).
    Before,
    /// Behind each residual sum (BERT).
    After,
}

/// What a model itself answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Head {
    /// `output(activation(dense(h)))` of the first token's last hidden state.
    Classifier {
        /// What stands between the maps.
        activation: Activation,
        /// Its outputs.
        outputs: usize,
    },
    /// Scores of all tokens for the next one.
    Vocabulary {
        /// Whether `embedding.tokens.weight` is its matrix.
        tied: bool,
    },
}
