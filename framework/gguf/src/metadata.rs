//! The metadata of a file: values by key.

use crate::GgufError;
use crate::cursor::Cursor;

/// The value of a metadata entry. Integers and floats of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// u8, u16, u32 or u64.
    Unsigned(u64),
    /// i8, i16, i32 or i64.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text.
    Text(&'a str),
    /// Values of one type.
    Array(Array<'a>),
}

impl Value<'_> {
    /// What it is, in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Unsigned(value) => format!("the integer {value}"),
            Self::Signed(value) => format!("the integer {value}"),
            Self::Float(value) => format!("the number {value:?}"),
            Self::Bool(value) => format!("{value}"),
            Self::Text(_) => "text".to_owned(),
            Self::Array(array) => format!("an array of {} elements", array.len()),
        }
    }

    /// The number, if it is an integer that is not negative.
    pub(crate) fn as_unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }
}

/// An array of metadata; it stays in the file and is decoded as it is walked.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<'a> {
    kind: Kind,
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Its number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its elements, in order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, mut cursor) = (self.kind, Cursor::new(self.bytes));
        // Each was read once when the file was parsed, so that none fails here.
        (0..self.count).map_while(move |_| kind.scalar(&mut cursor, "").ok())
    }

    /// Reads an array and checks its elements.
    fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, GgufError> {
        let kind = Kind::read(cursor, key)?;
        if kind == Kind::Array {
            return Err(GgufError::metadata(key, "is an array of arrays, which cannot be read"));
        }
        let count = cursor.u64(&format_args!("the length of `{key}`"))?;
        let mut start = cursor.clone();
        match kind.width() {
            Some(width) if kind != Kind::Bool => {
                cursor.take(count.saturating_mul(width), &format_args!("metadata `{key}`"))?;
            }
            _ => {
                for index in 0..count {
                    kind.scalar(cursor, format_args!("{key}[{index}]"))?;
                }
            }
        }
        let length = cursor.position() - start.position();
        let bytes = start.take(length as u64, &key)?;
        // Each element took a byte at least, so their number fits.
        Ok(Self { kind, count: count as usize, bytes })
    }
}

/// The type of a value in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// In the order of the numbers that stand for them.
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Text,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, GgufError> {
        let code = cursor.u32(&format_args!("the type of `{key}`"))?;
        Self::ALL.get(code as usize).copied().ok_or_else(|| {
            GgufError::metadata(key, format!("has the unknown type {code}, expected 0 to 12"))
        })
    }

    /// Bytes of a value, where all have the same.
    fn width(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }

    /// Reads a value that is no array.
    fn scalar<'a>(
        self,
        cursor: &mut Cursor<'a>,
        key: impl std::fmt::Display,
    ) -> Result<Value<'a>, GgufError> {
        let what = format_args!("metadata `{key}`");
        Ok(match self {
            Self::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(&what)?).into()),
            Self::I8 => Value::Signed(i8::from_le_bytes(cursor.array(&what)?).into()),
            Self::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(&what)?).into()),
            Self::I16 => Value::Signed(i16::from_le_bytes(cursor.array(&what)?).into()),
            Self::U32 => Value::Unsigned(u32::from_le_bytes(cursor.array(&what)?).into()),
            Self::I32 => Value::Signed(i32::from_le_bytes(cursor.array(&what)?).into()),
            Self::U64 => Value::Unsigned(cursor.u64(&what)?),
            Self::I64 => Value::Signed(i64::from_le_bytes(cursor.array(&what)?)),
            Self::F32 => Value::Float(f32::from_le_bytes(cursor.array(&what)?).into()),
            Self::F64 => Value::Float(f64::from_le_bytes(cursor.array(&what)?)),
            Self::Bool => match u8::from_le_bytes(cursor.array(&what)?) {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                byte => {
                    let problem = format!("is a truth value of {byte}, expected 0 or 1");
                    return Err(GgufError::metadata(key.to_string(), problem));
                }
            },
            Self::Text => Value::Text(cursor.string(&what)?),
            Self::Array => Value::Array(Array::read(cursor, &key.to_string())?),
        })
    }
}

/// Reads the value of `key`.
pub(crate) fn read<'a>(cursor: &mut Cursor<'a>, key: &str) -> Result<Value<'a>, GgufError> {
    Kind::read(cursor, key)?.scalar(cursor, key)
}
