//! Looks through a protobuf message before anything is allocated for it: is it whole, are all its
//! fields known, how deep is it nested, and how much memory would it take.

use std::mem::size_of;

use thiserror::Error;

use crate::messages::{
    AttributeProto, Dimension, FunctionProto, GraphProto, MapTypeProto, ModelProto, NodeProto,
    OpaqueTypeProto, OperatorSetIdProto, OptionalTypeProto, SequenceTypeProto, SparseTensorProto,
    StringStringEntryProto, TensorAnnotation, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};

/// Messages within messages: twenty branches or loops in each other. Prost stops at 100.
const MAX_DEPTH: usize = 64;
/// Bytes that the messages of a model may take, but for text and numbers as long as in the file. A
/// large language model's take some tens of millions.
const MAX_MEMORY: usize = 1 << 30;
/// What every protobuf implementation stops at.
const MAX_LENGTH: usize = i32::MAX as usize;

/// Why bytes are not taken for an ONNX model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are too many of them.
    #[error(
        "is {got} bytes long, but protobuf ends at {MAX_LENGTH}; save the weights beside it, as \
         external data"
    )]
    Length {
        /// How many.
        got: usize,
    },
    /// A field is no protobuf, or reaches beyond its message.
    #[error(
        "byte {at}: {problem} in a message {message}; it is no ONNX model, damaged or cut short"
    )]
    Damaged {
        /// Where the field starts.
        at: usize,
        /// The message's type.
        message: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A message has a field that would be lost.
    #[error(
        "byte {at}: a message {message} has a field {field}, which is not known; models in \
         training or for several devices cannot be read, nor versions of ONNX after 1.23"
    )]
    Field {
        /// Where the field starts.
        at: usize,
        /// The message's type.
        message: &'static str,
        /// The field's number.
        field: u64,
    },
    /// Messages are too deep within messages.
    #[error("byte {at}: messages are nested more than {MAX_DEPTH} deep")]
    Depth {
        /// Where the one too many starts.
        at: usize,
    },
    /// Small messages would take much memory.
    #[error("byte {at}: the graph would take more than {MAX_MEMORY} bytes; that is no model's")]
    Memory {
        /// Where the limit is reached.
        at: usize,
    },
    /// A field is not of its type.
    #[error("{0}; it is no ONNX model, or damaged")]
    Protobuf(#[from] prost::DecodeError),
}

/// What is known of a message.
struct Schema {
    name: &'static str,
    /// Bytes that it takes, but for its fields' own.
    size: usize,
    /// Fields that are no messages.
    plain: &'static [u64],
    /// Those of them that are numbers in a row, each of as many bytes as its value needs, and the bytes
    /// that one takes here.
    packed: &'static [(u64, usize)],
    /// Fields that are.
    messages: &'static [(u64, &'static Schema)],
}

macro_rules! schema {
    ($name:ident, $message:ty, $plain:expr, $messages:expr) => {
        schema!($name, $message, $plain, $messages, []);
    };
    ($name:ident, $message:ty, $plain:expr, $messages:expr, $packed:expr) => {
        static $name: Schema = Schema {
            name: stringify!($message),
            size: size_of::<$message>(),
            plain: &$plain,
            packed: &$packed,
            messages: &$messages,
        };
    };
}

schema!(
    MODEL,
    ModelProto,
    [1, 2, 3, 4, 5, 6],
    [(7, &GRAPH), (8, &OPERATOR_SET), (14, &ENTRY), (25, &FUNCTION)]
);
schema!(OPERATOR_SET, OperatorSetIdProto, [1, 2], []);
schema!(ENTRY, StringStringEntryProto, [1, 2], []);
schema!(
    GRAPH,
    GraphProto,
    [2, 10],
    [
        (1, &NODE),
        (5, &TENSOR),
        (11, &VALUE),
        (12, &VALUE),
        (13, &VALUE),
        (14, &ANNOTATION),
        (15, &SPARSE),
        (16, &ENTRY)
    ]
);
schema!(ANNOTATION, TensorAnnotation, [1], [(2, &ENTRY)]);
schema!(
    FUNCTION,
    FunctionProto,
    [1, 4, 5, 6, 8, 10, 13],
    [(7, &NODE), (9, &OPERATOR_SET), (11, &ATTRIBUTE), (12, &VALUE), (14, &ENTRY)]
);
schema!(NODE, NodeProto, [1, 2, 3, 4, 6, 7, 8], [(5, &ATTRIBUTE), (9, &ENTRY)]);
schema!(
    ATTRIBUTE,
    AttributeProto,
    [1, 2, 3, 4, 7, 8, 9, 13, 20, 21],
    [
        (5, &TENSOR),
        (6, &GRAPH),
        (10, &TENSOR),
        (11, &GRAPH),
        (14, &TYPE),
        (15, &TYPE),
        (22, &SPARSE),
        (23, &SPARSE)
    ],
    [(8, 8)]
);
schema!(
    TENSOR,
    TensorProto,
    [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14],
    [(13, &ENTRY), (16, &ENTRY)],
    [(1, 8), (5, 4), (7, 8), (11, 8)]
);
schema!(SPARSE, SparseTensorProto, [3], [(1, &TENSOR), (2, &TENSOR)], [(3, 8)]);
schema!(VALUE, ValueInfoProto, [1, 3], [(2, &TYPE), (4, &ENTRY)]);
schema!(
    TYPE,
    TypeProto,
    [6],
    [(1, &TENSOR_TYPE), (4, &SEQUENCE), (5, &MAP), (7, &OPAQUE), (8, &TENSOR_TYPE), (9, &OPTIONAL)]
);
schema!(TENSOR_TYPE, TensorTypeProto, [1], [(2, &SHAPE)]);
schema!(SEQUENCE, SequenceTypeProto, [], [(1, &TYPE)]);
schema!(MAP, MapTypeProto, [1], [(2, &TYPE)]);
schema!(OPTIONAL, OptionalTypeProto, [], [(1, &TYPE)]);
schema!(OPAQUE, OpaqueTypeProto, [1, 2], []);
schema!(SHAPE, TensorShapeProto, [], [(1, &DIMENSION)]);
schema!(DIMENSION, Dimension, [1, 2, 3], []);

/// Whether `bytes` are a model that can be decoded without loss and without harm.
pub(crate) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.len() > MAX_LENGTH {
        return Err(DecodeError::Length { got: bytes.len() });
    }
    let mut walk = Walk { bytes, at: 0, memory: 0 };
    walk.message(&MODEL, bytes.len(), 0)
}

/// A walk over the fields of nested messages.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    memory: usize,
}

impl Walk<'_> {
    fn message(
        &mut self,
        schema: &'static Schema,
        end: usize,
        depth: usize,
    ) -> Result<(), DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::Depth { at: self.at });
        }
        self.take(schema.size)?;
        while self.at < end {
            self.field(schema, end, depth)?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        schema: &'static Schema,
        end: usize,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let at = self.at;
        let damaged = |problem| DecodeError::Damaged { at, message: schema.name, problem };
        let key = self.varint(end).ok_or_else(|| damaged("a field's number does not end"))?;
        let (field, wire) = (key >> 3, key & 7);
        let inner = schema.messages.iter().find(|(number, _)| *number == field);
        if inner.is_none() && !schema.plain.contains(&field) {
            return Err(DecodeError::Field { at, message: schema.name, field });
        }
        let length = match wire {
            0 => {
                self.varint(end).ok_or_else(|| damaged("a number does not end"))?;
                0
            }
            1 => 8,
            2 => self.varint(end).ok_or_else(|| damaged("a length does not end"))?,
            5 => 4,
            _ => return Err(damaged("a field has an unknown wire type")),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > end - self.at {
            return Err(damaged("a field reaches beyond its end"));
        }
        match inner {
            Some((_, inner)) if wire == 2 => self.message(inner, self.at + length, depth + 1),
            Some(_) => Err(damaged("a message is written as a number")),
            None => {
                // Text and numbers of a fixed size take the bytes that are there.
                let content = &self.bytes[self.at..self.at + length];
                self.at += length;
                let packed = schema.packed.iter().find(|(number, _)| *number == field);
                let numbers = packed.map_or(0, |(_, size)| {
                    // Every number ends with such a byte.
                    content.iter().filter(|byte| **byte < 0x80).count() * size
                });
                self.take(numbers + size_of::<Vec<u8>>())
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > MAX_MEMORY {
            return Err(DecodeError::Memory { at: self.at });
        }
        Ok(())
    }

    /// The number that starts here, of at most ten bytes of seven bits each.
    fn varint(&mut self, end: usize) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes[..end].get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}
