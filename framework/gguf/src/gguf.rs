//! A file as a whole.

use std::collections::{BTreeMap, HashMap};

use crate::GgufError;
use crate::cursor::Cursor;
use crate::metadata::{self, Array, Value};
use crate::tensor::{TensorInfo, check_overlap};

/// Where tensor data starts at multiples of, unless `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;

/// Bytes that a metadata entry takes at least: a key's length, a type, a value of a byte.
const LEAST_ENTRY: u64 = 8 + 4 + 1;
/// Bytes that a tensor takes at least in the header: a name's length, no dimensions, type, offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// The header of a GGUF file, checked against the file.
#[derive(Debug, Clone)]
pub struct Gguf {
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Reads the header of `file`, all of whose bytes are given.
    ///
    /// # Errors
    /// If the file is no GGUF file of versions 2 or 3, is cut short, contradicts itself, or has tensors
    /// of a type that cannot be read.
    pub fn parse(file: &[u8]) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(file);
        check_version(&mut cursor)?;
        let tensors = cursor.u64(&"the number of tensors")?;
        let entries = cursor.u64(&"the number of metadata entries")?;
        fits(&cursor, "metadata entries", entries, LEAST_ENTRY)?;
        fits(&cursor, "tensors", tensors, LEAST_TENSOR)?;

        let metadata = read_metadata(&mut cursor, entries)?;
        let alignment = alignment(&metadata)?;
        let (tensors, by_name) = read_tensors(&mut cursor, tensors, alignment)?;
        let tensors = locate(tensors, &cursor, alignment)?;
        Ok(Self { metadata, tensors, by_name })
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&index| &self.tensors[index])
    }

    /// The integer `key`, if it is there.
    ///
    /// # Errors
    /// If it is something else, or negative.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "an integer that is not negative", Value::as_unsigned)
    }

    /// The number `key`, if it is there.
    ///
    /// # Errors
    /// If it is something else, or not finite.
    pub fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, "a finite number", |value| match *value {
            Value::Unsigned(value) => Some(value as f64),
            Value::Signed(value) => Some(value as f64),
            Value::Float(value) => Some(value).filter(|value| value.is_finite()),
            _ => None,
        })
    }

    /// The truth value `key`, if it is there.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "true or false", |value| match *value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// The text `key`, if it is there.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "text", |value| match value {
            Value::Text(value) => Some(value.as_str()),
            _ => None,
        })
    }

    /// The array `key`, if it is there.
    ///
    /// # Errors
    /// If it is something else.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, GgufError> {
        self.typed(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let wrong = || format!("is {}, expected {expected}", value.describe());
        read(value).map(Some).ok_or_else(|| GgufError::metadata(key, wrong()))
    }
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<(), GgufError> {
    let magic: [u8; 4] = cursor.array(&"the first word")?;
    if magic != *b"GGUF" {
        return Err(GgufError::Magic { got: magic.escape_ascii().to_string() });
    }
    let version = cursor.u32(&"the version")?;
    // A small number in the other order of bytes is a large one.
    let swapped = version.trailing_zeros() >= 16 && version != 0;
    match version {
        2 | 3 => Ok(()),
        _ if swapped => Err(GgufError::Version { got: version.swap_bytes(), swapped }),
        _ => Err(GgufError::Version { got: version, swapped }),
    }
}

/// Refuses a number of things that cannot be in what is left of the file.
fn fits(
    cursor: &Cursor<'_>,
    what: &'static str,
    claimed: u64,
    least: u64,
) -> Result<(), GgufError> {
    let left = cursor.left();
    let limit = left as u64 / least;
    if claimed > limit {
        return Err(GgufError::Count { what, claimed, left, limit });
    }
    Ok(())
}

fn read_metadata(
    cursor: &mut Cursor<'_>,
    entries: u64,
) -> Result<BTreeMap<String, Value>, GgufError> {
    let mut metadata = BTreeMap::new();
    for entry in 0..entries {
        let key = cursor.string(&format_args!("the key of metadata entry {entry}"))?;
        let value = metadata::read(cursor, &key)?;
        if metadata.contains_key(&key) {
            return Err(GgufError::metadata(key, "is there twice"));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    let Some(value) = metadata.get(KEY) else { return Ok(ALIGNMENT) };
    let power = |value: &u64| value.is_power_of_two() && *value <= u32::MAX.into();
    value.as_unsigned().filter(power).ok_or_else(|| {
        let problem = format!("is {}, expected a power of two of 32 bits", value.describe());
        GgufError::metadata(KEY, problem)
    })
}

/// The tensors as the header describes them; their bytes are counted from where the data starts.
fn read_tensors(
    cursor: &mut Cursor<'_>,
    count: u64,
    alignment: u64,
) -> Result<(Vec<TensorInfo>, HashMap<String, usize>), GgufError> {
    let (mut tensors, mut by_name) = (Vec::new(), HashMap::new());
    for index in 0..count {
        let name = cursor.string(&format_args!("the name of tensor {index}"))?;
        let tensor = TensorInfo::read(cursor, &name)?;
        if !(tensor.range().start as u64).is_multiple_of(alignment) {
            let problem = format!(
                "starts at {}, which is no multiple of the alignment {alignment}",
                tensor.range().start
            );
            return Err(GgufError::tensor(name, problem));
        }
        if by_name.contains_key(&name) {
            return Err(GgufError::tensor(name, "is there twice"));
        }
        by_name.insert(name, tensors.len());
        tensors.push(tensor);
    }
    Ok((tensors, by_name))
}

/// The tensors with their places in the file, whose header ends at `cursor`.
fn locate(
    mut tensors: Vec<TensorInfo>,
    cursor: &Cursor<'_>,
    alignment: u64,
) -> Result<Vec<TensorInfo>, GgufError> {
    check_overlap(&tensors)?;
    let end = cursor.position() + cursor.left();
    let start = (cursor.position() as u64).next_multiple_of(alignment);
    // A place beyond the address space is beyond the file too.
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    for tensor in &mut tensors {
        tensor.place(start, end)?;
    }
    Ok(tensors)
}
