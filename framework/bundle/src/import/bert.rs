//! BERT (Devlin et al. 2019): a bidirectional encoder with learned absolute positions and a
//! layer norm after each residual sum.
//!
//! The head of `BertForSequenceClassification`, if there is one, is
//! `classifier(tanh(pooler(h)))`, where `h` is the last layer's hidden state of the first token and
//! both are affine; the dropout between them is for training only. Other classes call other heads
//! `classifier` too. So where `architectures` names classes, only this one's head is imported; where
//! it is absent, a tensor `classifier.*` is one of its head.
//!
//! How the graph is laid out was measured (all-MiniLM-L6-v2, 16 samples of 25 tokens, one thread,
//! ONNX Runtime 1.31):
//!
//! | matrix products                               | ms   | heap of the process, MB |
//! |-----------------------------------------------|------|-------------------------|
//! | `Gemm` with `transB` on `[batch * tokens, _]` | 44.1 | 81                      |
//! | `FusedMatMul` with `transB`                   | 45.4 | 83                      |
//! | `Transpose`, folded, and `MatMul`             | 45.5 | 91                      |
//!
//! `Gemm` takes a weight as PyTorch stores it, `[out, in]`: its bytes stay where they are, in
//! `weights.safetensors`. Standard `Attention` was as fast as ONNX Runtime's own
//! `MultiHeadAttention` (45.2 ms), and other engines know it too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mobillm_core::backbone::Pooling;
use serde::Deserialize;

use super::head::Head;
use super::{Architecture, Dimensions, ImportError, read_json};
use crate::graph::{GraphBuilder, Value};
use crate::manifest::OWN_PREDICTION;
use crate::onnx::{AttributeProto, Axis, BOOL, ModelProto};
use crate::weights::Tensor;

/// `config.json`; what it leaves out is what `transformers` assumes.
#[derive(Debug, Deserialize)]
struct BertConfig {
    architectures: Option<Vec<String>>,
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

/// Reads and checks the `config.json` at `path`.
pub(super) fn read(path: &Path) -> Result<Box<dyn Architecture>, ImportError> {
    let config: BertConfig = read_json(path)?;
    let wrong = |problem| ImportError::Config { path: path.to_owned(), problem };
    if let Some(problem) = config.problem() {
        return Err(wrong(problem));
    }
    let activation = Activation::of(&config.hidden_act).ok_or_else(|| {
        let known = "gelu, gelu_new, gelu_pytorch_tanh, relu";
        wrong(format!("`hidden_act` is {:?}, expected one of {known}", config.hidden_act))
    })?;
    Ok(Box::new(Bert { path: path.to_owned(), config, activation }))
}

/// What stands between the two matrices of a feed-forward part.
#[derive(Debug, Clone, Copy)]
enum Activation {
    /// Exact.
    Gelu,
    /// Approximated with tanh.
    GeluTanh,
    Relu,
}

impl Activation {
    fn of(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    fn operator(self) -> (&'static str, Vec<AttributeProto>) {
        match self {
            Self::Gelu => ("Gelu", vec![]),
            Self::GeluTanh => ("Gelu", vec![AttributeProto::string("approximate", "tanh")]),
            Self::Relu => ("Relu", vec![]),
        }
    }
}

/// The class of models whose head answers for a whole text.
const CLASSIFIER: &str = "BertForSequenceClassification";

/// A checked config.
struct Bert {
    path: PathBuf,
    config: BertConfig,
    activation: Activation,
}

impl BertConfig {
    fn problem(&self) -> Option<String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Some(format!("`{name}` is 0, expected at least 1"));
        }
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if !hidden.is_multiple_of(heads) {
            return Some(format!("`hidden_size` {hidden} is not a multiple of {heads} heads"));
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => {
                return Some(format!(
                    "`position_embedding_type` is {other:?}, only \"absolute\" is known"
                ));
            }
        }
        self.is_decoder.then(|| "`is_decoder` is true, expected an encoder".to_owned())
    }
}

impl Architecture for Bert {
    fn dimensions(&self) -> Dimensions {
        Dimensions {
            layers: self.config.num_hidden_layers,
            hidden: self.config.hidden_size,
            vocabulary: self.config.vocab_size,
            segments: self.config.type_vocab_size,
            max_tokens: self.config.max_position_embeddings,
            padding: self.config.pad_token_id,
            pooling: Pooling::FirstToken,
        }
    }

    fn head(&self, tensors: &HashMap<String, Tensor>) -> Result<Option<Head>, ImportError> {
        let config = &self.config;
        let tensor = |name| tensor_name(tensors, name).map(|name| &tensors[&name]);
        let is_classifier = match &config.architectures {
            Some(classes) => classes.iter().any(|class| class == CLASSIFIER),
            None => tensor("classifier.weight").or(tensor("classifier.bias")).is_some(),
        };
        if !is_classifier {
            return Ok(None);
        }
        let hidden = config.hidden_size;
        let outputs = tensor("classifier.weight").and_then(|weight| weight.shape.first());
        let outputs = outputs.map_or(1, |&outputs| outputs.max(1));
        let expected = [
            ("classifier.weight", vec![outputs, hidden]),
            ("classifier.bias", vec![outputs]),
            ("pooler.dense.weight", vec![hidden, hidden]),
            ("pooler.dense.bias", vec![hidden]),
        ];
        let wrong = |problem: String| ImportError::Head {
            problem: format!(
                "{problem}; {CLASSIFIER} has pooler.dense.weight [{hidden}, {hidden}], \
                 pooler.dense.bias [{hidden}], classifier.weight [labels, {hidden}] and \
                 classifier.bias [labels]"
            ),
        };
        for (name, shape) in expected {
            let got = tensor(name).ok_or_else(|| wrong(format!("lacks {name}")))?;
            if got.shape != shape {
                return Err(wrong(format!("has {name} {:?}, expected {shape:?}", got.shape)));
            }
        }
        Head::read(&self.path, outputs)
    }

    fn graph(
        &self,
        tensors: &HashMap<String, Tensor>,
        head: Option<&Head>,
    ) -> Result<ModelProto, ImportError> {
        let config = &self.config;
        let graph = GraphBuilder::new(tensors);
        let mut encoder = Encoder { config, activation: self.activation, tensors, graph };
        let ids = encoder.graph.input("input_ids");
        let mask = encoder.graph.input("attention_mask");
        let segments = encoder.graph.input("token_type_ids");
        let mut stream = encoder.embedding(&ids, &segments)?;
        // `[batch, tokens, hidden]`, whatever layer it is asked of.
        let shape = encoder.graph.node("Shape", &[&stream], vec![]);
        let mask = encoder.attention_mask(&ids, &mask);
        for layer in 0..config.num_hidden_layers {
            stream = encoder.layer(layer, &stream, &mask, &shape)?;
        }
        let batch = Axis::Named("batch");
        let hidden = [batch, Axis::Named("tokens"), Axis::Fixed(config.hidden_size)];
        encoder.graph.output(&stream, &hidden);
        if let Some(head) = head {
            let own = encoder.own_prediction(&stream, head.outputs)?;
            encoder.graph.output(&own, &[batch, Axis::Fixed(head.outputs)]);
        }
        Ok(encoder.graph.finish())
    }
}

/// The encoder's graph under construction.
struct Encoder<'a> {
    config: &'a BertConfig,
    activation: Activation,
    tensors: &'a HashMap<String, Tensor>,
    graph: GraphBuilder<'a>,
}

impl Encoder<'_> {
    /// `tap.0`: the normed sum of token, segment and position.
    fn embedding(&mut self, ids: &str, segments: &str) -> Result<Value, ImportError> {
        let config = self.config;
        let hidden = config.hidden_size;
        let words =
            self.weight("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?;
        let types = [config.type_vocab_size, hidden];
        let types = self.weight("embeddings.token_type_embeddings.weight", &types)?;
        let positions = [config.max_position_embeddings, hidden];
        let positions = self.weight("embeddings.position_embeddings.weight", &positions)?;

        let words = self.graph.node("Gather", &[&words, ids], vec![]);
        let types = self.graph.node("Gather", &[&types, segments], vec![]);
        let tokens = self.axis(ids, 1);
        let zero = self.graph.constant(&[0]);
        let positions = self.graph.node("Slice", &[&positions, &zero, &tokens, &zero], vec![]);
        let sum = self.graph.node("Add", &[&words, &types], vec![]);
        let sum = self.graph.node("Add", &[&sum, &positions], vec![]);
        self.layer_norm("tap.0", &sum, "embeddings.LayerNorm")
    }

    /// `[batch, tokens]` of 0 and 1 to bool `[batch, 1, tokens, tokens]`: what is false gets a
    /// score of minus infinity, so that padding contributes exactly nothing.
    fn attention_mask(&mut self, ids: &str, mask: &str) -> Value {
        let (batch, tokens) = (self.axis(ids, 0), self.axis(ids, 1));
        let one = self.graph.constant(&[1]);
        let to_bool = vec![AttributeProto::int("to", BOOL.into())];
        let mask = self.graph.node("Cast", &[mask], to_bool);
        let axes = self.graph.constant(&[1, 2]);
        let mask = self.graph.node("Unsqueeze", &[&mask, &axes], vec![]);
        let along = vec![AttributeProto::int("axis", 0)];
        let shape = self.graph.node("Concat", &[&batch, &one, &tokens, &tokens], along);
        self.graph.node("Expand", &[&mask, &shape], vec![])
    }

    /// `tap.<layer + 1>` from the residual stream `[batch, tokens, hidden]`.
    fn layer(
        &mut self,
        layer: usize,
        stream: &str,
        mask: &str,
        shape: &str,
    ) -> Result<Value, ImportError> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let rows = self.rows(stream);
        let mut heads = Vec::new();
        for part in ["query", "key", "value"] {
            let product =
                self.linear(&rows, &name(&format!("attention.self.{part}")), hidden, hidden)?;
            heads.push(self.graph.node("Reshape", &[&product, shape], vec![]));
        }
        let count = self.config.num_attention_heads as i64;
        let counts = ["q_num_heads", "kv_num_heads"];
        let counts = counts.map(|name| AttributeProto::int(name, count)).to_vec();
        let inputs = [&heads[0], &heads[1], &heads[2], mask];
        let attended = self.graph.node("Attention", &inputs, counts);
        let attended = self.rows(&attended);
        let attended = self.linear(&attended, &name("attention.output.dense"), hidden, hidden)?;
        let attended = self.graph.node("Reshape", &[&attended, shape], vec![]);
        let sum = self.graph.node("Add", &[&attended, stream], vec![]);
        let middle = format!("attended.{layer}");
        let middle = self.layer_norm(&middle, &sum, &name("attention.output.LayerNorm"))?;

        let rows = self.rows(&middle);
        let wide = self.linear(&rows, &name("intermediate.dense"), hidden, inner)?;
        let (op_type, attributes) = self.activation.operator();
        let wide = self.graph.node(op_type, &[&wide], attributes);
        let narrow = self.linear(&wide, &name("output.dense"), inner, hidden)?;
        let narrow = self.graph.node("Reshape", &[&narrow, shape], vec![]);
        let sum = self.graph.node("Add", &[&narrow, &middle], vec![]);
        self.layer_norm(&format!("tap.{}", layer + 1), &sum, &name("output.LayerNorm"))
    }

    /// The head's logits `[batch, outputs]` from the last hidden state `[batch, tokens, hidden]`.
    fn own_prediction(&mut self, stream: &str, outputs: usize) -> Result<Value, ImportError> {
        let hidden = self.config.hidden_size;
        let first = self.graph.constant(&[0]);
        let tokens = vec![AttributeProto::int("axis", 1)];
        let first = self.graph.node("Gather", &[stream, &first], tokens);
        let first = self.rows(&first);
        let pooled = self.linear(&first, "pooler.dense", hidden, hidden)?;
        let pooled = self.graph.node("Tanh", &[&pooled], vec![]);
        let (weight, bias) = self.parameters("classifier", hidden, outputs)?;
        let transposed = vec![AttributeProto::int("transB", 1)];
        Ok(self.graph.named(OWN_PREDICTION, "Gemm", &[&pooled, &weight, &bias], transposed))
    }

    /// `[batch, tokens, hidden]` to `[batch * tokens, hidden]`.
    fn rows(&mut self, value: &str) -> Value {
        let shape = self.graph.constant(&[-1, self.config.hidden_size as i64]);
        self.graph.node("Reshape", &[value, &shape], vec![])
    }

    /// Rows `[_, inputs]` to `[_, outputs]`.
    fn linear(
        &mut self,
        rows: &str,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        let (weight, bias) = self.parameters(name, inputs, outputs)?;
        let transposed = vec![AttributeProto::int("transB", 1)];
        Ok(self.graph.node("Gemm", &[rows, &weight, &bias], transposed))
    }

    /// The weight `[outputs, inputs]` and bias `[outputs]` of the affine map `name`.
    fn parameters(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<(Value, Value), ImportError> {
        let weight = self.weight(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok((weight, self.weight(&format!("{name}.bias"), &[outputs])?))
    }

    fn layer_norm(&mut self, output: &str, input: &str, name: &str) -> Result<Value, ImportError> {
        let shape = [self.config.hidden_size];
        // Checkpoints that were converted from TensorFlow say gamma and beta.
        let either = |new: &str, old: &str| {
            let old = format!("{name}.{old}");
            if tensor_name(self.tensors, &old).is_some() { old } else { format!("{name}.{new}") }
        };
        let (scale, bias) = (either("weight", "gamma"), either("bias", "beta"));
        let (scale, bias) = (self.weight(&scale, &shape)?, self.weight(&bias, &shape)?);
        let epsilon = AttributeProto::float("epsilon", self.config.layer_norm_eps);
        let attributes = vec![AttributeProto::int("axis", -1), epsilon];
        Ok(self.graph.named(output, "LayerNormalization", &[input, &scale, &bias], attributes))
    }

    /// The size of `value`'s axis `axis`, as a vector of one number.
    fn axis(&mut self, value: &str, axis: i64) -> Value {
        let range = [("start", axis), ("end", axis + 1)];
        let range = range.map(|(name, at)| AttributeProto::int(name, at)).to_vec();
        self.graph.node("Shape", &[value], range)
    }

    fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Value, ImportError> {
        let name = tensor_name(self.tensors, name).unwrap_or_else(|| name.to_owned());
        self.graph.weight(&name, shape)
    }
}

/// What the tensor `name` is called in the file: models with a head put `bert.` before it.
fn tensor_name(tensors: &HashMap<String, Tensor>, name: &str) -> Option<String> {
    let prefixed = format!("bert.{name}");
    [name.to_owned(), prefixed].into_iter().find(|name| tensors.contains_key(name))
}
