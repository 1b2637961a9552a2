//! A model's files: the message, and the tensors that lie beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;
use thiserror::Error;

use crate::messages::{DataLocation, ModelProto, TensorProto};
use crate::tensors::{byte_length, elements};
use crate::wire::DecodeError;

/// Why a model's files cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is no model.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// A tensor is not what it claims to be.
    #[error("{}: tensor {name:?} {problem}", path.display())]
    Tensor {
        /// The model's file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong and what was expected.
        problem: String,
    },
}

/// The files of a model, mapped: tensors are read from disk when they are used.
///
/// Whoever changes a file meanwhile changes the weights; whoever truncates it ends the process.
#[derive(Debug)]
pub struct ModelFiles {
    path: PathBuf,
    /// Files with external data, by the name that tensors give them.
    beside: HashMap<String, Bytes>,
}

impl ModelFiles {
    /// Reads the model at `path`.
    ///
    /// # Errors
    /// If the file cannot be read or is no model.
    pub fn open(path: &Path) -> Result<(Self, ModelProto), FileError> {
        let bytes =
            map(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        let model = ModelProto::read(bytes);
        let model = model.map_err(|source| FileError::Decode { path: path.to_owned(), source })?;
        Ok((Self { path: path.to_owned(), beside: HashMap::new() }, model))
    }

    /// The elements of `tensor`, row-major and little-endian; elements of fewer than 8 bits are
    /// packed, the first in the lowest bits. Not copied where they lie so in a file. `None` for
    /// strings.
    ///
    /// # Errors
    /// If their number is not that of the tensor's shape, or they are in a file that cannot be read
    /// or is not in the model's folder.
    pub fn elements(&mut self, tensor: &TensorProto) -> Result<Option<Bytes>, FileError> {
        let expected = byte_length(tensor).map_err(|problem| self.wrong(tensor, problem))?;
        let Some(expected) = expected else { return Ok(None) };
        let bytes = match tensor.data_location == i32::from(DataLocation::External) {
            true => self.external(tensor, expected)?,
            false => elements(tensor),
        };
        match bytes.len() == expected {
            true => Ok(Some(bytes)),
            false => Err(self.wrong(
                tensor,
                format!(
                    "has {} bytes, but its shape {:?} makes it {expected}",
                    bytes.len(),
                    tensor.dims
                ),
            )),
        }
    }

    fn external(&mut self, tensor: &TensorProto, expected: usize) -> Result<Bytes, FileError> {
        let name = tensor.external("location").unwrap_or_default();
        let within = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !within {
            return Err(self.wrong(
                tensor,
                format!("is in the file {name:?}, which is not in the model's folder"),
            ));
        }
        if !self.beside.contains_key(name) {
            let path = self.path.with_file_name("").join(name);
            let bytes = map(&path).map_err(|source| FileError::Read { path, source })?;
            self.beside.insert(name.to_owned(), bytes);
        }
        let number = |key, absent| match tensor.external(key) {
            None => Some(absent),
            Some(text) => text.parse::<usize>().ok(),
        };
        let place = number("offset", 0).zip(number("length", expected));
        let range = place.and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
        let bytes = &self.beside[name];
        match range.filter(|range| range.end <= bytes.len()) {
            Some(range) => Ok(bytes.slice(range)),
            None => Err(self.wrong(
                tensor,
                format!(
                    "is at offset {:?}, length {:?} of {name:?}, which has {} bytes",
                    tensor.external("offset").unwrap_or("0"),
                    tensor.external("length").unwrap_or("(that of its shape)"),
                    bytes.len()
                ),
            )),
        }
    }

    fn wrong(&self, tensor: &TensorProto, problem: String) -> FileError {
        FileError::Tensor { path: self.path.clone(), name: tensor.name.clone(), problem }
    }
}

#[expect(unsafe_code, reason = "a file that others may change is mapped")]
fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    // An empty file cannot be mapped everywhere.
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the bytes are only read. Another process that writes to the file meanwhile could change
    // them under us: every range taken from them is checked against the map's length, text among
    // them is copied before it is checked, so the worst are a wrong graph or wrong weights, or the
    // signal that a truncated map raises.
    Ok(Bytes::from_owner(unsafe { Mmap::map(&file) }?))
}
