//! The metadata of a file: values by key.

use crate::GgufError;
use crate::cursor::Cursor;

/// The value of a metadata entry. Integers and floats of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// u8, u16, u32 or u64.
    Unsigned(u64),
    /// i8, i16, i32 or i64.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text.
    Text(String),
    /// Values of one type.
    Array(Array),
}

impl Value {
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

/// Values of one type; integers and floats of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// u8, u16, u32 or u64.
    Unsigned(Vec<u64>),
    /// i8, i16, i32 or i64.
    Signed(Vec<i64>),
    /// f32 or f64.
    Float(Vec<f64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Texts.
    Text(Vec<String>),
}

impl Array {
    /// Its number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Unsigned(values) => values.len(),
            Self::Signed(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads an array. Its length is only a claim: memory grows with the elements that are there.
    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, GgufError> {
        let kind = Kind::read(cursor, key)?;
        let mut array = match kind {
            Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Self::Unsigned(Vec::new()),
            Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => Self::Signed(Vec::new()),
            Kind::F32 | Kind::F64 => Self::Float(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Array => {
                return Err(GgufError::metadata(
                    key,
                    "is an array of arrays, which cannot be read",
                ));
            }
        };
        let count = cursor.u64(&format_args!("the length of `{key}`"))?;
        let bytes = count.saturating_mul(kind.least_width());
        cursor.clone().take(bytes, &format_args!("metadata `{key}`"))?;
        for index in 0..count {
            let value = kind.scalar(cursor, format_args!("{key}[{index}]"))?;
            match (&mut array, value) {
                (Self::Unsigned(values), Value::Unsigned(value)) => values.push(value),
                (Self::Signed(values), Value::Signed(value)) => values.push(value),
                (Self::Float(values), Value::Float(value)) => values.push(value),
                (Self::Bool(values), Value::Bool(value)) => values.push(value),
                (Self::Text(values), Value::Text(value)) => values.push(value),
                (_, value) => {
                    let problem = format!("is {} among others", value.describe());
                    return Err(GgufError::metadata(format!("{key}[{index}]"), problem));
                }
            }
        }
        Ok(array)
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

    /// Bytes that a value takes at least; of text, those of its length.
    fn least_width(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Text => 8,
            Self::Array => 12,
        }
    }

    /// Reads a value.
    fn scalar(
        self,
        cursor: &mut Cursor<'_>,
        key: impl std::fmt::Display,
    ) -> Result<Value, GgufError> {
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
pub(crate) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufError> {
    Kind::read(cursor, key)?.scalar(cursor, key)
}
