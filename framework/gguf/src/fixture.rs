//! Small GGUF files for tests, and what must hold of any.

use crate::{Gguf, GgufError, TensorType};

/// A value of metadata as a builder takes it.
#[derive(Debug, Clone)]
pub struct Raw {
    kind: u32,
    bytes: Vec<u8>,
}

impl Raw {
    /// An array of values, all of the type of the first; empty ones are of text.
    pub fn array<T: Into<Self>>(values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<Self> = values.into_iter().map(Into::into).collect();
        let mut bytes = values.first().map_or(8, |value| value.kind).to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.into_iter().flat_map(|value| value.bytes));
        Self { kind: 9, bytes }
    }
}

macro_rules! raw {
    ($($number:ty = $kind:literal),*) => {$(
        impl From<$number> for Raw {
            fn from(value: $number) -> Self {
                Self { kind: $kind, bytes: value.to_le_bytes().to_vec() }
            }
        }
    )*};
}
raw!(u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, u64 = 10, i64 = 11, f64 = 12);

impl From<bool> for Raw {
    fn from(value: bool) -> Self {
        Self { kind: 7, bytes: vec![value.into()] }
    }
}

impl From<&str> for Raw {
    fn from(value: &str) -> Self {
        Self { kind: 8, bytes: string(value) }
    }
}

/// Writes a GGUF file of version 3 into memory.
#[derive(Debug, Clone)]
pub struct GgufBuilder {
    version: u32,
    alignment: usize,
    metadata: Vec<(String, Raw)>,
    tensors: Vec<(String, Vec<usize>, TensorType, Vec<u8>)>,
}

impl Default for GgufBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl GgufBuilder {
    /// A file without metadata and tensors.
    pub fn new() -> Self {
        Self { version: 3, alignment: 32, metadata: Vec::new(), tensors: Vec::new() }
    }

    /// The version that the file claims.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Aligns tensors to `alignment` bytes, and says so in the metadata.
    pub fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.metadata("general.alignment", alignment)
    }

    /// Adds a metadata entry, or replaces it.
    pub fn metadata(mut self, key: &str, value: impl Into<Raw>) -> Self {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.to_owned(), value.into()));
        self
    }

    /// Leaves out a metadata entry.
    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(known, _)| known != key);
        self
    }

    /// Adds a tensor of row-major `shape` whose `bytes` are of `kind`, or replaces it.
    pub fn tensor(mut self, name: &str, shape: &[usize], kind: TensorType, bytes: &[u8]) -> Self {
        self.tensors.retain(|(known, ..)| known != name);
        self.tensors.push((name.to_owned(), shape.to_vec(), kind, bytes.to_vec()));
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            file.extend(string(key));
            file.extend(value.kind.to_le_bytes());
            file.extend(&value.bytes);
        }
        let mut offset = 0;
        for (name, shape, kind, bytes) in &self.tensors {
            file.extend(string(name));
            file.extend((shape.len() as u32).to_le_bytes());
            file.extend(shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
            file.extend(kind.code().to_le_bytes());
            file.extend((offset as u64).to_le_bytes());
            offset = (offset + bytes.len()).next_multiple_of(self.alignment);
        }
        for (.., bytes) in &self.tensors {
            file.resize(file.len().next_multiple_of(self.alignment), 0);
            file.extend(bytes);
        }
        file
    }
}

/// A file with metadata of every type and a tensor of every type.
pub fn every_type() -> GgufBuilder {
    let builder = GgufBuilder::new()
        .metadata("u8", 1_u8)
        .metadata("i8", -1_i8)
        .metadata("u16", 1_u16)
        .metadata("i16", -1_i16)
        .metadata("u32", 1_u32)
        .metadata("i32", -1_i32)
        .metadata("u64", 1_u64)
        .metadata("i64", -1_i64)
        .metadata("f32", 1.5_f32)
        .metadata("f64", 1.5_f64)
        .metadata("bool", true)
        .metadata("text", "text")
        .metadata("texts", Raw::array(["one", "two", "three"]))
        .metadata("flags", Raw::array([true, false]))
        .metadata("numbers", Raw::array([1_i32, 2, 3]));
    TensorType::ALL.into_iter().fold(builder, |builder, kind| {
        let bytes = vec![0x35; 2 * kind.block_bytes()];
        builder.tensor(&kind.to_string(), &[2, kind.block_values()], kind, &bytes)
    })
}

/// Reads all that `file` gives away.
///
/// # Errors
/// If it is no sound GGUF file.
///
/// # Panics
/// If what is read contradicts itself, which no file may bring about.
pub fn read_all(file: &[u8]) -> Result<(), GgufError> {
    let gguf = Gguf::parse(file)?;
    for tensor in gguf.tensors() {
        assert!(tensor.range().end <= file.len());
        let values = tensor.read_f32(file)?;
        assert_eq!(values.len(), tensor.shape().iter().product::<usize>());
        if let Some(blocks) = tensor.read_blocks(file)? {
            assert_eq!(blocks.rows * blocks.columns, values.len());
            assert_eq!(blocks.scales.len() * blocks.block, values.len());
            assert_eq!(blocks.quants.len() * 8, values.len() * usize::from(blocks.bits));
        }
    }
    Ok(())
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
