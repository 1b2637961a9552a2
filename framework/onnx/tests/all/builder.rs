//! Graphs under construction.

use mobillm_onnx::messages::{
    Axis, FLOAT, GraphProto, INT64, NodeProto, TensorProto, ValueInfoProto,
};

/// Hidden states of this width, a vocabulary of that size.
pub const HIDDEN: usize = 8;
pub const VOCABULARY: usize = 40;

/// A graph from `input_ids` and `attention_mask`; weights have shapes and no values.
#[derive(Default)]
pub struct Builder {
    pub graph: GraphProto,
}

impl Builder {
    pub fn new() -> Self {
        let axes = [Axis::Named("batch"), Axis::Named("tokens")];
        let input = |name| ValueInfoProto::tensor(name, INT64, &axes);
        let graph = GraphProto {
            input: vec![input("input_ids"), input("attention_mask")],
            ..GraphProto::default()
        };
        Self { graph }
    }

    pub fn weight(&mut self, dims: &[usize]) -> String {
        let name = format!("weight.{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: FLOAT,
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    pub fn node(&mut self, op_type: &str, inputs: &[&str]) -> String {
        let name = format!("value.{}", self.graph.node.len());
        self.graph.node.push(NodeProto::new(op_type, inputs, &[&name]));
        name
    }

    pub fn linear(&mut self, x: &str) -> String {
        let weight = self.weight(&[HIDDEN, HIDDEN]);
        self.node("MatMul", &[x, &weight])
    }

    pub fn norm(&mut self, x: &str) -> String {
        let (weight, bias) = (self.weight(&[HIDDEN]), self.weight(&[HIDDEN]));
        self.node("LayerNormalization", &[x, &weight, &bias])
    }

    /// x / sqrt(mean(x²) + ε) · w, as exporters without an operator for it write it.
    pub fn decomposed_norm(&mut self, x: &str) -> String {
        let (two, epsilon, weight) = (self.weight(&[]), self.weight(&[]), self.weight(&[HIDDEN]));
        let square = self.node("Pow", &[x, &two]);
        let mean = self.node("ReduceMean", &[&square]);
        let mean = self.node("Add", &[&mean, &epsilon]);
        let root = self.node("Sqrt", &[&mean]);
        let normed = self.node("Div", &[x, &root]);
        self.node("Mul", &[&normed, &weight])
    }

    /// tokens + positions, with no norm.
    pub fn embedding(&mut self) -> String {
        let (tokens, positions) = (self.weight(&[VOCABULARY, HIDDEN]), self.weight(&[16, HIDDEN]));
        let tokens = self.node("Gather", &[&tokens, "input_ids"]);
        let counted = self.node("CumSum", &["attention_mask"]);
        let positions = self.node("Gather", &[&positions, &counted]);
        self.node("Add", &[&tokens, &positions])
    }

    /// Softmax(q kᵀ + mask) v, projected.
    pub fn attention(&mut self, x: &str) -> String {
        let (q, k, v) = (self.linear(x), self.linear(x), self.linear(x));
        let k = self.node("Transpose", &[&k]);
        let scores = self.node("MatMul", &[&q, &k]);
        let mask = self.node("Cast", &["attention_mask"]);
        let scores = self.node("Add", &[&scores, &mask]);
        let shares = self.node("Softmax", &[&scores]);
        let mixed = self.node("MatMul", &[&shares, &v]);
        self.linear(&mixed)
    }

    /// With GELU as its approximation with tanh, which adds x to what is computed from x.
    pub fn feed_forward(&mut self, x: &str) -> String {
        let wide = self.linear(x);
        let (three, small, half, one) =
            (self.weight(&[]), self.weight(&[]), self.weight(&[]), self.weight(&[]));
        let cube = self.node("Pow", &[&wide, &three]);
        let cube = self.node("Mul", &[&cube, &small]);
        let sum = self.node("Add", &[&wide, &cube]);
        let tanh = self.node("Tanh", &[&sum]);
        let tanh = self.node("Add", &[&tanh, &one]);
        let gelu = self.node("Mul", &[&wide, &tanh]);
        let gelu = self.node("Mul", &[&gelu, &half]);
        self.linear(&gelu)
    }

    pub fn output(&mut self, value: &str) {
        self.graph.output.push(ValueInfoProto::tensor(
            value,
            FLOAT,
            &[Axis::Named("batch"), Axis::Named("tokens"), Axis::Fixed(HIDDEN)],
        ));
    }
}
