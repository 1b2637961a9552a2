//! Writes an ONNX graph, node by node, over the tensors of a safetensors file.

use std::collections::{HashMap, HashSet};

use safetensors::Dtype;

use crate::import::ImportError;
use crate::manifest::WEIGHTS;
use crate::onnx::{
    AttributeProto, Axis, DataLocation, FLOAT, GraphProto, INT64, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use crate::weights::Tensor;

/// ONNX 1.18: the first operator set with `Attention`.
const OPSET: i64 = 23;
const IR_VERSION: i64 = 11;

/// The name of a value in the graph.
pub(crate) type Value = String;

/// A graph under construction.
pub(crate) struct GraphBuilder<'a> {
    tensors: &'a HashMap<String, Tensor>,
    graph: GraphProto,
    initializers: HashSet<String>,
}

impl<'a> GraphBuilder<'a> {
    /// A graph without nodes. `tensors` are those of the bundle's weights.
    pub(crate) fn new(tensors: &'a HashMap<String, Tensor>) -> Self {
        let graph = GraphProto { name: "backbone".to_owned(), ..GraphProto::default() };
        Self { tensors, graph, initializers: HashSet::new() }
    }

    /// Adds the input `name`, int64 `[batch, tokens]`.
    pub(crate) fn input(&mut self, name: &str) -> Value {
        let axes = [Axis::Named("batch"), Axis::Named("tokens")];
        self.graph.input.push(ValueInfoProto::tensor(name, INT64, &axes));
        name.to_owned()
    }

    /// Adds the output `value`, float of the dimensions `axes`.
    pub(crate) fn output(&mut self, value: &str, axes: &[Axis<'_>]) {
        self.graph.output.push(ValueInfoProto::tensor(value, FLOAT, axes));
    }

    /// Adds a standard operator with one output, called `output`.
    pub(crate) fn named(
        &mut self,
        output: &str,
        op_type: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> Value {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op_type.to_owned(),
            attribute,
            domain: String::new(),
        });
        output.to_owned()
    }

    /// Adds a standard operator with one output.
    pub(crate) fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> Value {
        let output = format!("{op_type}.{}", self.graph.node.len());
        self.named(&output, op_type, inputs, attribute)
    }

    /// The int64 vector `values`.
    pub(crate) fn constant(&mut self, values: &[i64]) -> Value {
        let name = format!("constant.{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: INT64,
            name: name.clone(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
        name
    }

    /// The float tensor `name` of the weights, by reference into their file.
    ///
    /// # Errors
    /// If there is none, or one of another type or shape.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Value, ImportError> {
        let tensor = self.tensors.get(name).ok_or_else(|| ImportError::Tensor {
            name: name.to_owned(),
            problem: "is missing, but config.json needs it".to_owned(),
        })?;
        if tensor.dtype != Dtype::F32 || tensor.shape != shape {
            return Err(ImportError::Tensor {
                name: name.to_owned(),
                problem: format!(
                    "is {:?} {:?}, but config.json makes it F32 {shape:?}",
                    tensor.dtype, tensor.shape
                ),
            });
        }
        if self.initializers.insert(name.to_owned()) {
            self.graph.initializer.push(external(name, tensor));
        }
        Ok(name.to_owned())
    }

    /// The model of all that was added.
    pub(crate) fn finish(self) -> ModelProto {
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "mobillm".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        }
    }
}

fn external(name: &str, tensor: &Tensor) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    TensorProto {
        dims: tensor.shape.iter().map(|&size| size as i64).collect(),
        data_type: FLOAT,
        name: name.to_owned(),
        external_data: vec![
            entry("location", WEIGHTS.to_owned()),
            entry("offset", tensor.offset.to_string()),
            entry("length", tensor.length.to_string()),
        ],
        data_location: DataLocation::External.into(),
        ..TensorProto::default()
    }
}
