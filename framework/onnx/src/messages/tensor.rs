//! Weights and constants.

use bytes::Bytes;
use prost::{Enumeration, Message};

use super::{INT64, StringStringEntryProto};

/// Where a tensor's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DataLocation {
    /// In the message.
    Default = 0,
    /// In another file, named by `external_data`.
    External = 1,
}

/// A weight or constant.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// Its shape.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Its element type.
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Its elements if they are floats, and not in `raw_data`; complex ones as pairs.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Its elements if they are integers of at most 32 bits, booleans or the bits of halves, and not
    /// in `raw_data`.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Its elements if they are strings.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_data: Vec<Bytes>,
    /// Its elements if they are int64, and not in `raw_data`.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Its name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Its elements, little-endian, if they are in the message.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// Its elements if they are doubles, and not in `raw_data`; complex ones as pairs.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Its elements if they are uint32 or uint64, and not in `raw_data`.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// What people say of it.
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// `location`, `offset` and `length` if they are in another file.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// Where they are.
    #[prost(enumeration = "DataLocation", tag = "14")]
    pub data_location: i32,
    /// What programs say of it.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl TensorProto {
    /// The int64 tensor `name` of the shape `dims`: a scalar if that is empty.
    pub fn int64(name: &str, dims: &[i64], values: &[i64]) -> Self {
        Self {
            dims: dims.to_vec(),
            data_type: INT64,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..Self::default()
        }
    }

    /// What `external_data` says under `key`.
    pub fn external(&self, key: &str) -> Option<&str> {
        let entry = self.external_data.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }
}

/// A tensor that is mostly zero.
#[derive(Clone, PartialEq, Message)]
pub struct SparseTensorProto {
    /// The other elements.
    #[prost(message, optional, tag = "1")]
    pub values: Option<TensorProto>,
    /// Where they are.
    #[prost(message, optional, tag = "2")]
    pub indices: Option<TensorProto>,
    /// The shape.
    #[prost(int64, repeated, tag = "3")]
    pub dims: Vec<i64>,
}
