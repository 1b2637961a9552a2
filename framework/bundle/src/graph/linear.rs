//! Linear maps and the token embedding, whatever their weights are stored as.

use mobillm_weights::{Bits, Encoding, WeightsError};

use super::builder::{Value, integers, microsoft, ours};
use super::{GraphWriter, norm_kind};
use crate::network::Activation;
use crate::onnx::{AttributeProto, FLOAT};

/// What linear maps take. Said as what is to be computed, so that integer products can have it
/// computed and quantized in one pass.
pub(super) enum Input {
    /// A value `[rows, inputs]`.
    Rows(Value),
    /// The norm `name` of a hidden state.
    Normed { state: Value, name: String },
    /// `activation(wide)`, times `factor` if there is one; both `[rows, inputs]`.
    Activated { activation: Activation, wide: Value, factor: Option<Value> },
}

impl GraphWriter<'_> {
    /// `[rows, outputs]` from `[rows, inputs]`: the linear map `name`.
    pub(super) fn linear(&mut self, input: &Input, name: &str) -> Result<Value, WeightsError> {
        self.product(input, name, None)
    }

    /// `state`, `[batch, tokens, hidden]`, plus the linear map `name` of `input`.
    pub(super) fn add_linear(
        &mut self,
        state: &str,
        input: &Input,
        name: &str,
    ) -> Result<Value, WeightsError> {
        if self.encoding(name)? == Encoding::Int8 {
            let rows = self.rows(state);
            let sum = self.product(input, name, Some(rows))?;
            return Ok(self.tokens(&sum, self.info.hidden));
        }
        let product = self.linear(input, name)?;
        let product = self.tokens(&product, self.info.hidden);
        Ok(self.graph.node("Add", &[&product, state], vec![]))
    }

    /// How the linear map `name` is stored.
    pub(super) fn encoding(&self, name: &str) -> Result<Encoding, WeightsError> {
        Ok(self.graph.weights.matrix(&format!("{name}.weight"))?.encoding())
    }

    /// Only integer products add `residual` themselves.
    fn product(
        &mut self,
        input: &Input,
        name: &str,
        residual: Option<Value>,
    ) -> Result<Value, WeightsError> {
        let encoding = self.encoding(name)?;
        let bias = self.graph.optional_weight(&format!("{name}.bias"))?;
        match encoding {
            Encoding::F32 | Encoding::F16 => self.dense(input, name, bias),
            Encoding::Blocks { bits, block, offsets } => {
                let product = self.blocks(input, name, bias, bits, block)?;
                if offsets { self.add_offsets(input, name, &product, block) } else { Ok(product) }
            }
            Encoding::Int8 => self.int8(input, name, bias, residual),
        }
    }

    fn dense(
        &mut self,
        input: &Input,
        name: &str,
        bias: Option<Value>,
    ) -> Result<Value, WeightsError> {
        let rows = self.values(input)?;
        let weight = self.float_weight(&format!("{name}.weight"))?;
        let inputs: Vec<&str> = [&*rows, &weight].into_iter().chain(bias.as_deref()).collect();
        Ok(self.graph.node("Gemm", &inputs, vec![AttributeProto::int("transB", 1)]))
    }

    /// The tensor `name` as f32. Of an f16 tensor the engine makes an f32 copy when it loads the graph.
    fn float_weight(&mut self, name: &str) -> Result<Value, WeightsError> {
        let weight = self.graph.weight(name)?;
        Ok(match self.graph.weights.matrix(name)?.encoding() {
            Encoding::F16 => self.as_float(&weight),
            _ => weight,
        })
    }

    pub(super) fn as_float(&mut self, value: &str) -> Value {
        self.graph.node("Cast", &[value], vec![AttributeProto::int("to", FLOAT.into())])
    }

    fn blocks(
        &mut self,
        input: &Input,
        name: &str,
        bias: Option<Value>,
        bits: Bits,
        block: usize,
    ) -> Result<Value, WeightsError> {
        let rows = self.values(input)?;
        let matrix = self.graph.weights.matrix(&format!("{name}.weight"))?;
        let attributes = [
            ("K", matrix.columns()),
            ("N", matrix.rows()),
            ("bits", bits.width()),
            ("block_size", block),
        ];
        let weight = self.graph.weight(&format!("{name}.weight"))?;
        let scales = self.graph.weight(&format!("{name}.scales"))?;
        let mut inputs = vec![&*rows, &weight, &scales];
        if let Some(bias) = &bias {
            // Zero points, which are in the middle, and an order of columns, which is theirs.
            inputs.extend(["", "", bias]);
        }
        Ok(self.graph.node(microsoft("MatMulNBits"), &inputs, integers(&attributes)))
    }

    /// An offset counts once for each value of its block: the blocks' sums times the offsets.
    fn add_offsets(
        &mut self,
        input: &Input,
        name: &str,
        product: &str,
        block: usize,
    ) -> Result<Value, WeightsError> {
        let rows = self.values(input)?;
        let offsets = self.graph.weight(&format!("{name}.offsets"))?;
        let blocks = self.graph.weights.location(&offsets)?.shape[1];
        let shape = self.graph.integers(&[-1, blocks as i64, block as i64]);
        let cut = self.graph.node("Reshape", &[&rows, &shape], vec![]);
        let last = self.graph.integers(&[2]);
        let sums = vec![AttributeProto::int("keepdims", 0)];
        let sums = self.graph.node("ReduceSum", &[&cut, &last], sums);
        let transposed = vec![AttributeProto::int("transB", 1)];
        Ok(self.graph.node("Gemm", &[&sums, &offsets, product], transposed))
    }

    fn int8(
        &mut self,
        input: &Input,
        name: &str,
        bias: Option<Value>,
        residual: Option<Value>,
    ) -> Result<Value, WeightsError> {
        let [quants, row_scales] = self.quantized(input)?;
        let weight = self.graph.weight(&format!("{name}.weight"))?;
        let scales = self.graph.weight(&format!("{name}.scales"))?;
        let mut inputs = vec![&*quants, &row_scales, &weight, &scales];
        match (&bias, &residual) {
            (None, None) => {}
            (Some(bias), None) => inputs.push(bias),
            (bias, Some(residual)) => {
                inputs.extend([bias.as_deref().unwrap_or_default(), residual]);
            }
        }
        Ok(self.graph.node(ours("Int8Linear"), &inputs, vec![]))
    }

    /// `input` as f32, `[rows, inputs]`.
    fn values(&mut self, input: &Input) -> Result<Value, WeightsError> {
        match input {
            Input::Rows(rows) => Ok(rows.clone()),
            Input::Normed { state, name } => {
                let normed = self.norm(state, name)?;
                Ok(self.rows(&normed))
            }
            Input::Activated { activation, wide, factor } => {
                let active = self.activate(*activation, wide);
                Ok(match factor {
                    None => active,
                    Some(factor) => self.graph.node("Mul", &[&active, factor], vec![]),
                })
            }
        }
    }

    /// `input` as i16 `[rows, inputs]`, and the rows' scales.
    fn quantized(&mut self, input: &Input) -> Result<[Value; 2], WeightsError> {
        match input {
            Input::Rows(rows) => Ok(self.graph.nodes(ours("QuantizeRows"), &[rows], vec![])),
            Input::Normed { state, name } => {
                let rows = self.rows(state);
                let weight = self.graph.weight(&format!("{name}.weight"))?;
                let bias = self.graph.optional_weight(&format!("{name}.bias"))?;
                let inputs: Vec<&str> =
                    [&*rows, &weight].into_iter().chain(bias.as_deref()).collect();
                let kind = AttributeProto::string("kind", norm_kind(self.network.norm.kind));
                let epsilon = AttributeProto::float("epsilon", self.network.norm.epsilon);
                Ok(self.graph.nodes(ours("NormQuantizeRows"), &inputs, vec![kind, epsilon]))
            }
            Input::Activated { activation, wide, factor } => {
                let activation = match activation {
                    Activation::Gelu => "gelu",
                    Activation::GeluTanh => "gelu-tanh",
                    Activation::Relu => "relu",
                    Activation::Silu => "silu",
                    // Only heads have it, for one row a sample.
                    Activation::Tanh => {
                        let rows = self.values(input)?;
                        return self.quantized(&Input::Rows(rows));
                    }
                };
                let inputs: Vec<&str> = std::iter::once(&**wide).chain(factor.as_deref()).collect();
                let activation = vec![AttributeProto::string("activation", activation)];
                Ok(self.graph.nodes(ours("ActivateQuantizeRows"), &inputs, activation))
            }
        }
    }

    /// `[batch, tokens, width]` from `ids`: the rows of the token embedding.
    pub(super) fn token_embedding(&mut self, ids: &str) -> Result<Value, WeightsError> {
        let name = "embedding.tokens.weight";
        let matrix = self.graph.weights.matrix(name)?;
        let (rows, columns) = (matrix.rows(), matrix.columns());
        match matrix.encoding() {
            Encoding::Blocks { bits, block, offsets } => {
                let weight = self.graph.weight_as(name, &[rows, bits.bytes(columns)])?;
                let scales = self.graph.weight("embedding.tokens.scales")?;
                let attributes = [
                    ("bits", bits.width()),
                    ("block_size", block),
                    ("gather_axis", 0),
                    ("quantize_axis", 1),
                ];
                let inputs = [&*weight, ids, &scales];
                let gather = microsoft("GatherBlockQuantized");
                let gathered = self.graph.node(gather, &inputs, integers(&attributes));
                if offsets { self.offset_embedding(ids, &gathered, block) } else { Ok(gathered) }
            }
            Encoding::F16 => {
                let weight = self.graph.weight(name)?;
                let gathered = self.graph.node("Gather", &[&weight, ids], vec![]);
                Ok(self.as_float(&gathered))
            }
            Encoding::F32 | Encoding::Int8 => {
                let weight = self.graph.weight(name)?;
                Ok(self.graph.node("Gather", &[&weight, ids], vec![]))
            }
        }
    }

    fn offset_embedding(
        &mut self,
        ids: &str,
        gathered: &str,
        block: usize,
    ) -> Result<Value, WeightsError> {
        let offsets = self.graph.weight("embedding.tokens.offsets")?;
        let offsets = self.graph.node("Gather", &[&offsets, ids], vec![]);
        let last = self.graph.integers(&[-1]);
        let offsets = self.graph.node("Unsqueeze", &[&offsets, &last], vec![]);
        let cut = self.graph.integers(&[0, 0, -1, block as i64]);
        let cut = self.graph.node("Reshape", &[gathered, &cut], vec![]);
        let sum = self.graph.node("Add", &[&cut, &offsets], vec![]);
        Ok(self.tokens(&sum, self.network.embedding.width))
    }
}
