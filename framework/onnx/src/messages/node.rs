//! Nodes and their attributes.

use prost::{Enumeration, Message};

use super::{GraphProto, SparseTensorProto, StringStringEntryProto, TensorProto, TypeProto};

/// One operator.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    /// Names of the values it takes.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values it makes.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Its own name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Its attributes.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// What people say of it.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The operator's domain; empty for standard ONNX.
    #[prost(string, tag = "7")]
    pub domain: String,
    /// Which of several functions of one name.
    #[prost(string, tag = "8")]
    pub overload: String,
    /// What programs say of it.
    #[prost(message, repeated, tag = "9")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl NodeProto {
    /// The standard operator `op_type` from `input` to `output`, named for its first output.
    pub fn new(op_type: &str, input: &[&str], output: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let name = output.first().copied().unwrap_or_default().to_owned();
        let op_type = op_type.to_owned();
        Self { input: owned(input), output: owned(output), name, op_type, ..Self::default() }
    }

    /// The attribute `name`, if the node has it.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// The graphs among its attributes: branches and loops.
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute
            .iter()
            .flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
    }
}

/// Which field of an [`AttributeProto`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// None.
    Undefined = 0,
    /// `f`
    Float = 1,
    /// `i`
    Int = 2,
    /// `s`
    String = 3,
    /// `t`
    Tensor = 4,
    /// `g`
    Graph = 5,
    /// `floats`
    Floats = 6,
    /// `ints`
    Ints = 7,
    /// `strings`
    Strings = 8,
    /// `tensors`
    Tensors = 9,
    /// `graphs`
    Graphs = 10,
    /// `sparse_tensor`
    SparseTensor = 11,
    /// `sparse_tensors`
    SparseTensors = 12,
    /// `tp`
    TypeProto = 13,
    /// `type_protos`
    TypeProtos = 14,
}

/// An operator's attribute.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value if it is a float.
    #[prost(float, tag = "2")]
    pub f: f32,
    /// The value if it is an integer.
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// The value if it is a string.
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    /// The value if it is a tensor.
    #[prost(message, optional, boxed, tag = "5")]
    pub t: Option<Box<TensorProto>>,
    /// The value if it is a graph.
    #[prost(message, optional, boxed, tag = "6")]
    pub g: Option<Box<GraphProto>>,
    /// The value if it is a list of floats.
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    /// The value if it is a list of integers.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// The value if it is a list of strings.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    /// The value if it is a list of tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// The value if it is a list of graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// What people say of it.
    #[prost(string, tag = "13")]
    pub doc_string: String,
    /// The value if it is a type.
    #[prost(message, optional, boxed, tag = "14")]
    pub tp: Option<Box<TypeProto>>,
    /// The value if it is a list of types.
    #[prost(message, repeated, tag = "15")]
    pub type_protos: Vec<TypeProto>,
    /// Which of them counts.
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
    /// In a function: the function's attribute that the value is taken from.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
    /// The value if it is a sparse tensor.
    #[prost(message, optional, boxed, tag = "22")]
    pub sparse_tensor: Option<Box<SparseTensorProto>>,
    /// The value if it is a list of sparse tensors.
    #[prost(message, repeated, tag = "23")]
    pub sparse_tensors: Vec<SparseTensorProto>,
}

impl AttributeProto {
    /// A float.
    pub fn float(name: &str, f: f32) -> Self {
        let r#type = AttributeType::Float.into();
        Self { name: name.to_owned(), f, r#type, ..Self::default() }
    }

    /// An integer.
    pub fn int(name: &str, i: i64) -> Self {
        let r#type = AttributeType::Int.into();
        Self { name: name.to_owned(), i, r#type, ..Self::default() }
    }

    /// A string.
    pub fn string(name: &str, s: &str) -> Self {
        let r#type = AttributeType::String.into();
        Self { name: name.to_owned(), s: s.into(), r#type, ..Self::default() }
    }

    /// A list of integers.
    pub fn ints(name: &str, ints: &[i64]) -> Self {
        let r#type = AttributeType::Ints.into();
        Self { name: name.to_owned(), ints: ints.to_vec(), r#type, ..Self::default() }
    }

    /// A tensor.
    pub fn tensor(name: &str, t: TensorProto) -> Self {
        let r#type = AttributeType::Tensor.into();
        Self { name: name.to_owned(), t: Some(Box::new(t)), r#type, ..Self::default() }
    }
}
