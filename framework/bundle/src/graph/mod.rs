//! Writes the ONNX graph of a [`Network`] over the tensors of a bundle's weights.
//!
//! ```text
//! input_ids       int64 [batch, tokens]
//! attention_mask  int64 [batch, tokens]   1 for a token, 0 for padding; not if attention is causal: padding
//!                                         is on the right, where nothing sees it
//! token_type_ids  int64 [batch, tokens]   if segments are told apart
//! last_tokens     int64 [batch]           with a language head: where each sample's last token is
//! tap.<i>         float [batch, tokens, hidden], i = 0..=layers; the last one is the first output
//! own_prediction  float [batch, outputs]  the logits of a classifier
//! own_state       float [batch, width]    with a language head: what a row of the head's matrix is multiplied by
//!                                         to score its token
//! ```
//!
//! Matrices stay in `weights.safetensors` as they are stored, and each kind has its operator:
//!
//! | stored as | linear map | token embedding |
//! |---|---|---|
//! | f32 | `Gemm`, transposed | `Gather` |
//! | f16 | the same after a `Cast`, which ONNX Runtime does once, into an f32 copy in memory | `Gather`, `Cast` |
//! | blocks | ONNX Runtime's `MatMulNBits`, in f32; offsets by the sum of each block of the input | its `GatherBlockQuantized`, to the bit `(code - zero) * scale` |
//! | int8 | `Int8Linear` | as blocks |
//!
//! # Operators of the domain `mobillm`
//!
//! The engine has to bring them; `..` are leading axes, k inputs, n outputs. Norm's and linear map's
//! bias, factor, residual, frequencies and mask may be left out.
//!
//! ```text
//! QuantizeRows(x f32 [.., k]) -> quants i16 [.., k], scales f32 [.., 1]
//!     scale = absmax / levels, quants = x / scale to the nearest, ties to even; 0 for a row of zeros;
//!     levels = min(2^15 - 1, (2^31 - 1) / 128 / k), so that no sum of products overflows 32 bits
//! NormQuantizeRows(x f32 [.., k], weight f32 [k], bias f32 [k])        of the norm `kind` ("rms", "layer") with `epsilon`
//! ActivateQuantizeRows(x f32 [.., k], factor f32 [.., k])              of activation(x) * factor
//! Int8Linear(quants, scales, weight i8 [k, n], weight_scales f32 [n], bias f32 [n], residual f32 [.., n]) -> f32 [.., n]
//!     (sum over k of quants * weight, exact) * scales * weight_scales + bias + residual
//! Attention(query f32 [batch, tokens, heads * width], key, value f32 [batch, tokens, key_heads * width],
//!           frequencies f32 [width / 2], attention_mask int64 [batch, tokens]) -> f32 as query
//!     `heads`, `key_heads`, `causal` (0, 1); queries and keys turned by position * frequency, if there are some
//! ```
//!
//! A difference in rounding before a quantization could become one of a whole step. So a row's scale is
//! its own, and where any map is int8 all attention is this one, which rounds in the same order whatever the
//! batch: a sample does not depend on its batch mates. Of a map among them that stays f32, since its columns
//! are no multiple of 32, that holds as far as `Gemm` rounds alike for every number of rows.
//!
//! # What was measured
//!
//! all-MiniLM-L6-v2, 16 samples of 25 tokens, one thread, ONNX Runtime 1.31:
//!
//! | matrix products                               | ms   | heap of the process, MB |
//! |-----------------------------------------------|------|-------------------------|
//! | `Gemm` with `transB` on `[batch * tokens, _]` | 44.1 | 81                      |
//! | `FusedMatMul` with `transB`                   | 45.4 | 83                      |
//! | `Transpose`, folded, and `MatMul`             | 45.5 | 91                      |
//!
//! `Gemm` takes a weight as PyTorch stores it, `[out, in]`: its bytes stay where they are.
//!
//! A layer of SmolLM2-135M's shape in f32, one thread, processor time, the least of 40 runs:
//!
//! | attention                            | rotary             | 16 x 39 tokens, ms | 2 x 256, ms |
//! |--------------------------------------|--------------------|--------------------|-------------|
//! | `Attention`                          | `RotaryEmbedding`  | 21.6               | 19.3        |
//! | `Attention`                          | ONNX Runtime's own | 21.7               | 19.0        |
//! | ONNX Runtime's `GroupQueryAttention` | within it          | 21.5               | 19.8        |
//!
//! `RMSNormalization` takes as long as ONNX Runtime's `SimplifiedLayerNormalization` (0.074 ms for 624
//! rows), and `x * Sigmoid(x)` becomes one operator when the graph is loaded. So these are standard
//! operators, which other engines know too. All of SmolLM2-135M, as above: f32 691 ms and 623, blocks of 8
//! bits 853 and 760, of 4 bits with offsets 763 and 676.

mod attention;
mod builder;
mod head;
mod linear;

use mobillm_core::backbone::BackboneInfo;
use mobillm_weights::{Matrix, WeightsError, WeightsFile};

use crate::manifest::{ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS};
use crate::network::{Activation, Network, NormKind, Placement, Positions};
use crate::onnx::{AttributeProto, Axis, ModelProto};
use builder::{GraphBuilder, Value};
use linear::Input;

/// The graph of `network` over `weights`, which are in the folder where the graph will be.
///
/// # Errors
/// If a tensor is missing or stored in no known way.
pub(crate) fn graph(
    network: &Network,
    info: &BackboneInfo,
    weights: &WeightsFile,
) -> Result<ModelProto, WeightsError> {
    let is_int8 = |name: &str| matches!(weights.matrix(name), Ok(Matrix::Int8(_)));
    let steady = weights.names().any(is_int8);
    let mut writer = GraphWriter { network, info, graph: GraphBuilder::new(weights), steady };
    let [batch, tokens] = [Axis::Named("batch"), Axis::Named("tokens")];
    let ids = writer.graph.input(INPUT_IDS, &[batch, tokens]);
    if !network.attention.causal {
        writer.graph.input(ATTENTION_MASK, &[batch, tokens]);
    }
    if network.embedding.segments > 0 {
        writer.graph.input(TOKEN_TYPE_IDS, &[batch, tokens]);
    }
    let mut state = writer.embedding(&ids)?;
    for layer in 0..info.layers {
        state = writer.layer(layer, &state)?;
    }
    writer.graph.output(&state, &[batch, tokens, Axis::Fixed(info.hidden)]);
    if let Some(head) = network.head {
        writer.head(&state, head)?;
    }
    Ok(writer.graph.finish())
}

/// A network's graph under construction. Hidden states are `[batch, tokens, hidden]`, what linear
/// maps take and make is `[rows, _]`, a row for each token.
struct GraphWriter<'a> {
    network: &'a Network,
    info: &'a BackboneInfo,
    graph: GraphBuilder<'a>,
    /// Whether something is quantized behind attention: there is a map of integers.
    steady: bool,
}

impl GraphWriter<'_> {
    /// `tap.0`.
    fn embedding(&mut self, ids: &str) -> Result<Value, WeightsError> {
        let embedding = &self.network.embedding;
        let mut sum = self.token_embedding(ids)?;
        if embedding.width != self.info.hidden {
            let rows = Input::Rows(self.flat(&sum, embedding.width));
            let projected = self.linear(&rows, "embedding.projection")?;
            sum = self.tokens(&projected, self.info.hidden);
        }
        if embedding.segments > 0 {
            let table = self.graph.weight("embedding.segments.weight")?;
            let segments = self.graph.node("Gather", &[&table, TOKEN_TYPE_IDS], vec![]);
            sum = self.graph.node("Add", &[&sum, &segments], vec![]);
        }
        if let Positions::Learned { offset, .. } = embedding.positions {
            let positions = self.positions(offset)?;
            sum = self.graph.node("Add", &[&sum, &positions], vec![]);
        }
        if embedding.normed {
            sum = self.norm(&sum, "embedding.norm")?;
        }
        Ok(self.graph.call(&sum, "tap.0"))
    }

    /// The rows `offset..tokens + offset` of the table of positions.
    fn positions(&mut self, offset: usize) -> Result<Value, WeightsError> {
        let table = self.graph.weight("embedding.positions.weight")?;
        let start = self.graph.integers(&[offset as i64]);
        let mut end = self.axis(1);
        if offset > 0 {
            end = self.graph.node("Add", &[&end, &start], vec![]);
        }
        let axis = self.graph.integers(&[0]);
        Ok(self.graph.node("Slice", &[&table, &start, &end, &axis], vec![]))
    }

    /// `tap.<layer + 1>` from `tap.<layer>`.
    fn layer(&mut self, layer: usize, state: &str) -> Result<Value, WeightsError> {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let input = self.branch(state, &name("attention.norm"));
        let attended = Input::Rows(self.attention(layer, &input)?);
        let sum = self.add_linear(state, &attended, &name("attention.output"))?;
        let middle = self.behind(&sum, &name("attention.norm"))?;
        let middle = self.graph.call(&middle, &format!("attended.{layer}"));

        let input = self.branch(&middle, &name("feed_forward.norm"));
        let up = self.linear(&input, &name("feed_forward.up"))?;
        let activation = self.network.feed_forward.activation;
        let active = if self.network.feed_forward.gated {
            let gate = self.linear(&input, &name("feed_forward.gate"))?;
            Input::Activated { activation, wide: gate, factor: Some(up) }
        } else {
            Input::Activated { activation, wide: up, factor: None }
        };
        let sum = self.add_linear(&middle, &active, &name("feed_forward.down"))?;
        let output = self.behind(&sum, &name("feed_forward.norm"))?;
        Ok(self.graph.call(&output, &format!("tap.{}", layer + 1)))
    }

    /// What leaves the residual stream for a layer's part, of which `norm` is the norm.
    fn branch(&mut self, state: &str, norm: &str) -> Input {
        match self.network.placement {
            Placement::Before => Input::Normed { state: state.to_owned(), name: norm.to_owned() },
            Placement::After => Input::Rows(self.rows(state)),
        }
    }

    /// The residual stream behind a layer's part, of which `norm` is the norm.
    fn behind(&mut self, sum: &str, norm: &str) -> Result<Value, WeightsError> {
        match self.network.placement {
            Placement::Before => Ok(sum.to_owned()),
            Placement::After => self.norm(sum, norm),
        }
    }

    /// The norm `name` of the last axis of `state`.
    fn norm(&mut self, state: &str, name: &str) -> Result<Value, WeightsError> {
        let weight = self.graph.weight(&format!("{name}.weight"))?;
        let attributes = self.norm_attributes();
        match self.network.norm.kind {
            NormKind::Layer => {
                let bias = self.graph.weight(&format!("{name}.bias"))?;
                let inputs = [state, &weight, &bias];
                Ok(self.graph.node("LayerNormalization", &inputs, attributes))
            }
            NormKind::Rms => Ok(self.graph.node("RMSNormalization", &[state, &weight], attributes)),
        }
    }

    fn norm_attributes(&self) -> Vec<AttributeProto> {
        let epsilon = AttributeProto::float("epsilon", self.network.norm.epsilon);
        vec![AttributeProto::int("axis", -1), epsilon]
    }

    fn activate(&mut self, activation: Activation, value: &str) -> Value {
        match activation {
            Activation::Gelu => self.graph.node("Gelu", &[value], vec![]),
            Activation::GeluTanh => {
                let tanh = vec![AttributeProto::string("approximate", "tanh")];
                self.graph.node("Gelu", &[value], tanh)
            }
            Activation::Relu => self.graph.node("Relu", &[value], vec![]),
            Activation::Silu => {
                let sigmoid = self.graph.node("Sigmoid", &[value], vec![]);
                self.graph.node("Mul", &[value, &sigmoid], vec![])
            }
            Activation::Tanh => self.graph.node("Tanh", &[value], vec![]),
        }
    }

    /// A hidden state to `[rows, hidden]`.
    fn rows(&mut self, state: &str) -> Value {
        self.flat(state, self.info.hidden)
    }

    /// `[batch, tokens, width]` to `[rows, width]`.
    fn flat(&mut self, value: &str, width: usize) -> Value {
        let shape = self.graph.integers(&[-1, width as i64]);
        self.graph.node("Reshape", &[value, &shape], vec![])
    }

    /// `[rows, width]` to `[batch, tokens, width]`.
    fn tokens(&mut self, value: &str, width: usize) -> Value {
        let shape = self.shape(width);
        self.graph.node("Reshape", &[value, &shape], vec![])
    }

    /// The shape `[batch, tokens, width]`.
    fn shape(&mut self, width: usize) -> Value {
        let batch = self.graph.node("Shape", &[INPUT_IDS], vec![]);
        let width = self.graph.integers(&[width as i64]);
        let along = vec![AttributeProto::int("axis", 0)];
        self.graph.node("Concat", &[&batch, &width], along)
    }

    /// The number of samples (axis 0) or tokens (axis 1), as a vector of one number.
    fn axis(&mut self, axis: i64) -> Value {
        let range = [("start", axis), ("end", axis + 1)];
        let range = range.map(|(name, at)| AttributeProto::int(name, at)).to_vec();
        self.graph.node("Shape", &[INPUT_IDS], range)
    }
}

/// What a norm is called in an attribute.
fn norm_kind(kind: NormKind) -> &'static str {
    match kind {
        NormKind::Layer => "layer",
        NormKind::Rms => "rms",
    }
}
