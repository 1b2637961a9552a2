//! A graph under construction.

use std::collections::{BTreeSet, HashMap, HashSet};

use mobillm_weights::{Dtype, WeightsError, WeightsFile};
use prost::Message;

use crate::manifest::WEIGHTS;
use crate::onnx::{
    AttributeProto, Axis, DataLocation, FLOAT, FLOAT16, GraphProto, INT8, INT64, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, UINT8, ValueInfoProto,
};

/// ONNX 1.18: the first operator set with `Attention`, `RotaryEmbedding` and `RMSNormalization`.
const OPSET: i64 = 23;
const IR_VERSION: i64 = 11;

/// The name of a value in the graph.
pub(super) type Value = String;

/// An operator and the set it is from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator {
    domain: &'static str,
    name: &'static str,
}

/// Standard ONNX.
impl From<&'static str> for Operator {
    fn from(name: &'static str) -> Self {
        Self { domain: "", name }
    }
}

/// An operator that ONNX Runtime adds to the standard.
pub(super) fn microsoft(name: &'static str) -> Operator {
    Operator { domain: "com.microsoft", name }
}

/// An operator that whoever runs the graph has to bring.
pub(super) fn ours(name: &'static str) -> Operator {
    Operator { domain: "mobillm", name }
}

/// Nodes are added in the order in which they run. What is asked for twice is computed once: a node
/// with the operator, inputs and attributes of an earlier one is that one.
pub(super) struct GraphBuilder<'a> {
    pub(super) weights: &'a WeightsFile,
    graph: GraphProto,
    /// Nodes by their encoding without outputs.
    known: HashMap<Vec<u8>, usize>,
    initializers: HashSet<String>,
    domains: BTreeSet<&'static str>,
}

impl<'a> GraphBuilder<'a> {
    pub(super) fn new(weights: &'a WeightsFile) -> Self {
        let graph = GraphProto { name: "backbone".to_owned(), ..GraphProto::default() };
        let (known, initializers) = (HashMap::new(), HashSet::new());
        Self { weights, graph, known, initializers, domains: BTreeSet::new() }
    }

    /// Adds the input `name`, int64 of the dimensions `axes`.
    pub(super) fn input(&mut self, name: &str, axes: &[Axis<'_>]) -> Value {
        self.graph.input.push(ValueInfoProto::tensor(name, INT64, axes));
        name.to_owned()
    }

    /// Adds the output `value`, float of the dimensions `axes`.
    pub(super) fn output(&mut self, value: &str, axes: &[Axis<'_>]) {
        self.graph.output.push(ValueInfoProto::tensor(value, FLOAT, axes));
    }

    /// Adds a node with one output.
    pub(super) fn node(
        &mut self,
        operator: impl Into<Operator>,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        let [output] = self.nodes(operator, inputs, attributes);
        output
    }

    /// Adds a node with `N` outputs.
    pub(super) fn nodes<const N: usize>(
        &mut self,
        operator: impl Into<Operator>,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> [Value; N] {
        let Operator { domain, name } = operator.into();
        let mut node = NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            op_type: name.to_owned(),
            attribute,
            domain: domain.to_owned(),
            ..NodeProto::default()
        };
        let next = self.graph.node.len();
        let at = *self.known.entry(node.encode_to_vec()).or_insert(next);
        if at == next {
            self.domains.insert(domain);
            node.name = format!("{name}.{at}");
            node.output = match N {
                1 => vec![node.name.clone()],
                _ => (0..N).map(|output| format!("{name}.{at}.{output}")).collect(),
            };
            self.graph.node.push(node);
        }
        std::array::from_fn(|output| self.graph.node[at].output[output].clone())
    }

    /// Calls `value`, the output of a node, `name` from now on.
    pub(super) fn call(&mut self, value: &str, name: &str) -> Value {
        for node in self.graph.node.iter_mut().rev() {
            for called in node.input.iter_mut().chain(&mut node.output) {
                if called == value {
                    name.clone_into(called);
                }
            }
            if node.output.iter().any(|output| output == name) {
                name.clone_into(&mut node.name);
                break;
            }
        }
        name.to_owned()
    }

    /// The int64 vector `values`.
    pub(super) fn integers(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(format!("integers.{values:?}"), INT64, &[values.len()], bytes)
    }

    /// The int64 scalar `value`.
    pub(super) fn integer(&mut self, value: i64) -> Value {
        self.constant(format!("integer.{value}"), INT64, &[], value.to_le_bytes().to_vec())
    }

    /// The float vector `values`, called `name`.
    pub(super) fn floats(&mut self, name: &str, values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name.to_owned(), FLOAT, &[values.len()], bytes)
    }

    fn constant(&mut self, name: String, data_type: i32, shape: &[usize], bytes: Vec<u8>) -> Value {
        if self.initializers.insert(name.clone()) {
            self.graph.initializer.push(TensorProto {
                dims: dims(shape),
                data_type,
                name: name.clone(),
                raw_data: bytes.into(),
                ..TensorProto::default()
            });
        }
        name
    }

    /// The tensor `name` of the weights, by reference into their file.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn weight(&mut self, name: &str) -> Result<Value, WeightsError> {
        let shape = self.weights.location(name)?.shape.clone();
        self.weight_as(name, &shape)
    }

    /// The tensor `name` of the weights with its elements in another shape.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn weight_as(&mut self, name: &str, shape: &[usize]) -> Result<Value, WeightsError> {
        let location = self.weights.location(name)?;
        if self.initializers.insert(name.to_owned()) {
            let entry =
                |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
            self.graph.initializer.push(TensorProto {
                dims: dims(shape),
                data_type: element_type(location.dtype),
                name: name.to_owned(),
                external_data: vec![
                    entry("location", WEIGHTS.to_owned()),
                    entry("offset", location.offset.to_string()),
                    entry("length", location.length.to_string()),
                ],
                data_location: DataLocation::External.into(),
                ..TensorProto::default()
            });
        }
        Ok(name.to_owned())
    }

    /// The tensor `name` of the weights, if there is one.
    pub(super) fn optional_weight(&mut self, name: &str) -> Result<Option<Value>, WeightsError> {
        self.weights.contains(name).then(|| self.weight(name)).transpose()
    }

    /// The model of all that was added.
    pub(super) fn finish(mut self) -> ModelProto {
        self.domains.insert("");
        let version = |domain: &str| if domain.is_empty() { OPSET } else { 1 };
        let sets = self.domains.into_iter().map(|domain| OperatorSetIdProto {
            domain: domain.to_owned(),
            version: version(domain),
        });
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "mobillm".to_owned(),
            opset_import: sets.collect(),
            graph: Some(self.graph),
            ..ModelProto::default()
        }
    }
}

fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}

/// The element type of a tensor that a [`WeightsFile`] holds for a network.
fn element_type(dtype: Dtype) -> i32 {
    match dtype {
        Dtype::F16 => FLOAT16,
        Dtype::U8 => UINT8,
        Dtype::I8 => INT8,
        _ => FLOAT,
    }
}

/// Attributes that are whole numbers.
pub(super) fn integers(attributes: &[(&str, usize)]) -> Vec<AttributeProto> {
    attributes.iter().map(|(name, value)| AttributeProto::int(name, *value as i64)).collect()
}
