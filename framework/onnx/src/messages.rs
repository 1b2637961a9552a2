//! The ONNX format as protobuf messages; field numbers are those of `onnx.proto`.
//!
//! A message read with [`ModelProto::read`] and encoded again says the same as before: every field
//! is here, but for those of training and of graphs spread over several devices, which are refused.
//! That a field is absent and that it holds its default (0, the empty string) is taken for one thing.

mod node;
mod prune;
mod tensor;
mod types;

use bytes::Bytes;
use prost::Message;

pub use node::{AttributeProto, AttributeType, NodeProto};
pub use tensor::{DataLocation, SparseTensorProto, TensorProto};
pub use types::{
    Axis, Dimension, DimensionValue, MapTypeProto, OpaqueTypeProto, OptionalTypeProto,
    SequenceTypeProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

use crate::wire::{self, DecodeError};

/// Element type of single-precision tensors (`TensorProto.DataType.FLOAT`).
pub const FLOAT: i32 = 1;
/// Element type of quantized weights with a zero point.
pub const UINT8: i32 = 2;
/// Element type of quantized weights.
pub const INT8: i32 = 3;
/// Element type of 16-bit unsigned integers.
pub const UINT16: i32 = 4;
/// Element type of 16-bit integers.
pub const INT16: i32 = 5;
/// Element type of 32-bit integers.
pub const INT32: i32 = 6;
/// Element type of token ids and shapes (`TensorProto.DataType.INT64`).
pub const INT64: i32 = 7;
/// Element type of masks (`TensorProto.DataType.BOOL`).
pub const BOOL: i32 = 9;
/// Element type of half-precision tensors.
pub const FLOAT16: i32 = 10;
/// Element type of double-precision tensors.
pub const DOUBLE: i32 = 11;
/// Element type of 32-bit unsigned integers.
pub const UINT32: i32 = 12;
/// Element type of 64-bit unsigned integers.
pub const UINT64: i32 = 13;
/// Element type of truncated single precision.
pub const BFLOAT16: i32 = 16;

/// A model: a graph and the operator sets it speaks.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    /// Version of the file format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Who wrote it.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Which version of whoever wrote it.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// The namespace of the model's name.
    #[prost(string, tag = "4")]
    pub domain: String,
    /// The model's own version.
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    /// What people say of it.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The computation.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Operator sets, one for each domain.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// What programs say of it.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Operators that are graphs themselves.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

impl ModelProto {
    /// Reads a model that somebody else may have written. Large tensors are not copied: they are
    /// slices of `bytes`.
    ///
    /// # Errors
    /// If `bytes` are no protobuf message, are cut short, are nested too deeply, would take far more
    /// memory than they have bytes, or have fields that this crate does not know.
    pub fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        wire::check(&bytes)?;
        Ok(Self::decode(bytes)?)
    }

    /// The version of ONNX's own operators that the model speaks, if it says so.
    pub fn opset(&self) -> Option<i64> {
        let own = |set: &&OperatorSetIdProto| matches!(&*set.domain, "" | "ai.onnx");
        self.opset_import.iter().find(own).map(|set| set.version)
    }
}

/// An operator set; the empty domain is standard ONNX.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetIdProto {
    /// The domain.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Its version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key and its value.
#[derive(Clone, PartialEq, Message)]
pub struct StringStringEntryProto {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Nodes in topological order, the tensors they start from, inputs and outputs.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    /// Operators, each after those whose outputs it takes.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// The graph's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Weights and constants.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// What people say of it.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// What a run is given.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// What a run gives back.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types of values in between, as far as somebody inferred them.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// Which tensors hold the scales and zero points of others.
    #[prost(message, repeated, tag = "14")]
    pub quantization_annotation: Vec<TensorAnnotation>,
    /// Weights that are mostly zero.
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensorProto>,
    /// What programs say of it.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// The tensors that a quantized tensor is read with.
#[derive(Clone, PartialEq, Message)]
pub struct TensorAnnotation {
    /// The quantized tensor.
    #[prost(string, tag = "1")]
    pub tensor_name: String,
    /// Role and name of each of the others.
    #[prost(message, repeated, tag = "2")]
    pub quant_parameter_tensor_names: Vec<StringStringEntryProto>,
}

/// An operator that is a graph itself.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionProto {
    /// The operator's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Names of the values it takes.
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    /// Names of the values it makes.
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    /// Attributes that a node must give.
    #[prost(string, repeated, tag = "6")]
    pub attribute: Vec<String>,
    /// What it computes.
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<NodeProto>,
    /// What people say of it.
    #[prost(string, tag = "8")]
    pub doc_string: String,
    /// Operator sets, one for each domain.
    #[prost(message, repeated, tag = "9")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// The operator's domain.
    #[prost(string, tag = "10")]
    pub domain: String,
    /// Attributes that a node may give, with their defaults.
    #[prost(message, repeated, tag = "11")]
    pub attribute_proto: Vec<AttributeProto>,
    /// Types of values in between.
    #[prost(message, repeated, tag = "12")]
    pub value_info: Vec<ValueInfoProto>,
    /// Which of several functions of one name.
    #[prost(string, tag = "13")]
    pub overload: String,
    /// What programs say of it.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}
