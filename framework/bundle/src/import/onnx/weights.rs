//! The weights of a foreign graph, moved into one safetensors file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use bytes::Bytes;
use mobillm_onnx::messages::{
    self as onnx, DataLocation, ModelProto, StringStringEntryProto, TensorProto,
};
use mobillm_onnx::{FileError, ModelFiles, visit_inner_tensors};
use mobillm_weights::{Dtype, WeightsFile};
use safetensors::tensor::View;

use super::super::ImportError;
use crate::manifest::WEIGHTS;

/// Tensors of fewer bytes stay in the graph: engines look at shapes and axes while they load it.
const SMALLEST: usize = 1024;

/// Writes the weights of `model` into `folder` and makes references of them. Nothing in the model
/// refers to `files` afterwards.
///
/// # Errors
/// If a tensor is not what it claims to be, or the file cannot be written.
pub(super) fn write(
    model: &mut ModelProto,
    files: &mut ModelFiles,
    folder: &Path,
) -> Result<(), ImportError> {
    visit_inner_tensors(model, &mut |tensor| inline(tensor, files))?;
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let mut stored = BTreeMap::new();
    for tensor in &mut graph.initializer {
        inline(tensor, files)?;
        if tensor.raw_data.len() >= SMALLEST {
            stored.insert(tensor.name.clone(), Stored::take(tensor));
        }
    }
    let path = folder.join(WEIGHTS);
    write_file(&path, stored)
        .map_err(|source| ImportError::Write { path: path.clone(), source })?;
    let written = WeightsFile::open(&path)?;
    for tensor in &mut graph.initializer {
        if tensor.data_location == i32::from(DataLocation::External) {
            let location = written.location(&tensor.name)?;
            let entry =
                |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
            tensor.external_data = vec![
                entry("location", WEIGHTS.to_owned()),
                entry("offset", location.offset.to_string()),
                entry("length", location.length.to_string()),
            ];
        }
    }
    Ok(())
}

/// Writes the safetensors file `path`, which whoever may read new files can read: safetensors itself
/// makes one for its owner only.
fn write_file(path: &Path, stored: BTreeMap<String, Stored>) -> io::Result<()> {
    let permissions = File::create_new(path)?.metadata()?.permissions();
    safetensors::serialize_to_file(stored, None, path).map_err(io::Error::other)?;
    fs::set_permissions(path, permissions)
}

/// Makes the tensor's elements bytes of the message: slices of a file, where they lie so in one.
fn inline(tensor: &mut TensorProto, files: &mut ModelFiles) -> Result<(), FileError> {
    if let Some(bytes) = files.elements(tensor)? {
        let TensorProto { dims, data_type, name, doc_string, metadata_props, .. } =
            std::mem::take(tensor);
        let raw_data = bytes;
        *tensor = TensorProto {
            dims,
            data_type,
            name,
            doc_string,
            metadata_props,
            raw_data,
            ..TensorProto::default()
        };
    }
    Ok(())
}

/// A tensor of the safetensors file.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Stored {
    /// Takes the elements out of `tensor`, which becomes a reference to what will be in the file.
    fn take(tensor: &mut TensorProto) -> Self {
        let bytes = std::mem::take(&mut tensor.raw_data);
        tensor.data_location = DataLocation::External.into();
        let shape = tensor.dims.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
        match dtype(tensor.data_type) {
            Some(dtype) => Self { dtype, shape, bytes },
            // Only the graph knows what these bytes are.
            None => Self { dtype: Dtype::U8, shape: vec![bytes.len()], bytes },
        }
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// What safetensors calls the element type, if it has it.
fn dtype(data_type: i32) -> Option<Dtype> {
    Some(match data_type {
        onnx::FLOAT => Dtype::F32,
        onnx::UINT8 => Dtype::U8,
        onnx::INT8 => Dtype::I8,
        onnx::UINT16 => Dtype::U16,
        onnx::INT16 => Dtype::I16,
        onnx::INT32 => Dtype::I32,
        onnx::INT64 => Dtype::I64,
        onnx::BOOL => Dtype::BOOL,
        onnx::FLOAT16 => Dtype::F16,
        onnx::DOUBLE => Dtype::F64,
        onnx::UINT32 => Dtype::U32,
        onnx::UINT64 => Dtype::U64,
        onnx::BFLOAT16 => Dtype::BF16,
        _ => return None,
    })
}
