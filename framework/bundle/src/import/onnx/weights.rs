//! The weights of a foreign graph, moved into one safetensors file.

use std::path::Path;

use bytes::Bytes;
use mobillm_onnx::messages::{
    self as onnx, DataLocation, ModelProto, StringStringEntryProto, TensorProto,
};
use mobillm_onnx::{FileError, ModelFiles, visit_inner_tensors};
use mobillm_weights::{Dtype, Planned, WeightsFile, WeightsWriter};

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
    let tensors = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    let mut large = Vec::new();
    for tensor in tensors {
        inline(tensor, files)?;
        if tensor.raw_data.len() >= SMALLEST {
            large.push(tensor);
        }
    }
    let plan = |tensor: &&mut TensorProto| {
        let (dtype, shape) = stored(tensor);
        Planned::tensor(&tensor.name, dtype, shape)
    };
    let planned: Vec<Planned> = large.iter().map(plan).collect();
    let path = folder.join(WEIGHTS);
    let mut writer = WeightsWriter::create(&path, &planned)?;
    for tensor in &large {
        writer.write_bytes(&tensor.name, stored(tensor).0, &tensor.raw_data)?;
    }
    writer.finish()?;
    let written = WeightsFile::open(&path)?;
    for tensor in large {
        let location = written.location(&tensor.name)?;
        let entry =
            |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        tensor.raw_data = Bytes::new();
        tensor.data_location = DataLocation::External.into();
        tensor.external_data = vec![
            entry("location", WEIGHTS.to_owned()),
            entry("offset", location.offset.to_string()),
            entry("length", location.length.to_string()),
        ];
    }
    Ok(())
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

/// Element type and shape of `tensor` in the safetensors file.
fn stored(tensor: &TensorProto) -> (Dtype, Vec<usize>) {
    let dtype = match tensor.data_type {
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
        // Only the graph knows what these bytes are.
        _ => return (Dtype::U8, vec![tensor.raw_data.len()]),
    };
    let shape = tensor.dims.iter().filter_map(|&size| usize::try_from(size).ok());
    (dtype, shape.collect())
}
