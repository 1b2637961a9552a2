//! Types of values.

use prost::{Message, Oneof};

use super::StringStringEntryProto;

/// A named value and its type.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    /// The value.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    /// What people say of it.
    #[prost(string, tag = "3")]
    pub doc_string: String,
    /// What programs say of it.
    #[prost(message, repeated, tag = "4")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// A dimension of a [`ValueInfoProto`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis<'a> {
    /// Known.
    Fixed(usize),
    /// Known at run time, under this name.
    Named(&'a str),
}

impl ValueInfoProto {
    /// A tensor of `elem_type` with the dimensions `axes`.
    pub fn tensor(name: &str, elem_type: i32, axes: &[Axis<'_>]) -> Self {
        let dim = axes.iter().map(|axis| Dimension {
            value: Some(match axis {
                Axis::Fixed(size) => DimensionValue::Fixed(*size as i64),
                Axis::Named(name) => DimensionValue::Named((*name).to_owned()),
            }),
            ..Dimension::default()
        });
        let shape = Some(TensorShapeProto { dim: dim.collect() });
        let tensor_type = Some(TensorTypeProto { elem_type, shape });
        let r#type = Some(TypeProto { tensor_type, ..TypeProto::default() });
        Self { name: name.to_owned(), r#type, ..Self::default() }
    }

    /// Its element type, if it is a tensor.
    pub fn elem_type(&self) -> Option<i32> {
        Some(self.r#type.as_ref()?.tensor_type.as_ref()?.elem_type)
    }

    /// Its dimensions, if it is a tensor of known rank; `None` for those that only a run tells.
    pub fn dims(&self) -> Option<Vec<Option<i64>>> {
        let shape = self.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
        let size = |dimension: &Dimension| match dimension.value {
            Some(DimensionValue::Fixed(size)) => Some(size),
            _ => None,
        };
        Some(shape.dim.iter().map(size).collect())
    }

    /// Its dimensions for people, such as `[?, ?, 384]`, if it is a tensor of known rank.
    pub fn shape_text(&self) -> Option<String> {
        let text = |size: Option<i64>| size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        let sizes: Vec<String> = self.dims()?.into_iter().map(text).collect();
        Some(format!("[{}]", sizes.join(", ")))
    }
}

/// The type of a value: one of its fields, but for the denotation.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    /// A tensor's type.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
    /// A sequence's.
    #[prost(message, optional, boxed, tag = "4")]
    pub sequence_type: Option<Box<SequenceTypeProto>>,
    /// A map's.
    #[prost(message, optional, boxed, tag = "5")]
    pub map_type: Option<Box<MapTypeProto>>,
    /// What the value stands for.
    #[prost(string, tag = "6")]
    pub denotation: String,
    /// One that other domains define.
    #[prost(message, optional, boxed, tag = "7")]
    pub opaque_type: Option<Box<OpaqueTypeProto>>,
    /// A sparse tensor's.
    #[prost(message, optional, boxed, tag = "8")]
    pub sparse_tensor_type: Option<Box<TensorTypeProto>>,
    /// That of a value that may be absent.
    #[prost(message, optional, boxed, tag = "9")]
    pub optional_type: Option<Box<OptionalTypeProto>>,
}

/// The type of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    /// Its element type.
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Its shape, if known.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// The type of a sequence.
#[derive(Clone, PartialEq, Message)]
pub struct SequenceTypeProto {
    /// Type of its elements.
    #[prost(message, optional, tag = "1")]
    pub elem_type: Option<TypeProto>,
}

/// The type of a map.
#[derive(Clone, PartialEq, Message)]
pub struct MapTypeProto {
    /// Element type of its keys.
    #[prost(int32, tag = "1")]
    pub key_type: i32,
    /// Type of its values.
    #[prost(message, optional, tag = "2")]
    pub value_type: Option<TypeProto>,
}

/// The type of a value that may be absent.
#[derive(Clone, PartialEq, Message)]
pub struct OptionalTypeProto {
    /// Its type if it is there.
    #[prost(message, optional, tag = "1")]
    pub elem_type: Option<TypeProto>,
}

/// A type that another domain defines.
#[derive(Clone, PartialEq, Message)]
pub struct OpaqueTypeProto {
    /// The domain.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The type's name.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// A shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// Its dimensions.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// A dimension.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    /// Its size or name.
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
    /// What it stands for.
    #[prost(string, tag = "3")]
    pub denotation: String,
}

/// A dimension's size or name.
#[derive(Clone, PartialEq, Oneof)]
pub enum DimensionValue {
    /// Known.
    #[prost(int64, tag = "1")]
    Fixed(i64),
    /// Known at run time.
    #[prost(string, tag = "2")]
    Named(String),
}
