//! Tensors as bytes, whichever of its fields a message has them in.

use bytes::Bytes;

use crate::messages::{
    AttributeProto, BFLOAT16, BOOL, DOUBLE, FLOAT, FLOAT16, GraphProto, INT8, INT16, INT32, INT64,
    ModelProto, NodeProto, TensorProto, UINT8, UINT16, UINT32, UINT64,
};

const STRING: i32 = 8;

/// Bits of an element of the type `data_type`; `None` for strings.
fn bits(data_type: i32) -> Result<Option<usize>, String> {
    match data_type {
        STRING => Ok(None),
        UINT8 | INT8 | BOOL => Ok(Some(8)),
        UINT16 | INT16 | FLOAT16 | BFLOAT16 => Ok(Some(16)),
        FLOAT | INT32 | UINT32 => Ok(Some(32)),
        // Complex numbers of single precision.
        INT64 | DOUBLE | UINT64 | 14 => Ok(Some(64)),
        // Complex numbers of double precision.
        15 => Ok(Some(128)),
        // Floats of 8 bits.
        17..=20 | 24 => Ok(Some(8)),
        // Numbers of 4 bits, and of 2.
        21..=23 => Ok(Some(4)),
        25 | 26 => Ok(Some(2)),
        other => Err(format!("has elements of the unknown type {other}")),
    }
}

/// Bytes that the elements of `tensor` take by its shape; `None` for strings.
pub(crate) fn byte_length(tensor: &TensorProto) -> Result<Option<usize>, String> {
    let Some(bits) = bits(tensor.data_type)? else { return Ok(None) };
    let product = |all: usize, &size: &i64| all.checked_mul(usize::try_from(size).ok()?);
    let elements = tensor.dims.iter().try_fold(1, product);
    let length =
        elements.and_then(|elements| elements.checked_mul(bits)).map(|bits| bits.div_ceil(8));
    length.map(Some).ok_or_else(|| format!("has the impossible shape {:?}", tensor.dims))
}

/// The elements that are in the message, little-endian.
pub(crate) fn elements(tensor: &TensorProto) -> Bytes {
    if !tensor.raw_data.is_empty() {
        return tensor.raw_data.clone();
    }
    let narrow = |size: usize| {
        tensor.int32_data.iter().flat_map(move |value| value.to_le_bytes().into_iter().take(size))
    };
    match tensor.data_type {
        FLOAT | 14 => tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DOUBLE | 15 => tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        INT64 => tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        UINT64 => tensor.uint64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        UINT32 => {
            tensor.uint64_data.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect()
        }
        INT32 => narrow(4).collect(),
        UINT16 | INT16 | FLOAT16 | BFLOAT16 => narrow(2).collect(),
        _ => narrow(1).collect(),
    }
}

/// Makes weights of constants that nodes hold, so that they can be kept beside the graph like others.
pub fn hoist_constants(graph: &mut GraphProto) {
    let mut hoisted = Vec::new();
    graph.node.retain_mut(|node| match constant(node) {
        Some(tensor) => {
            hoisted.push(tensor);
            false
        }
        None => true,
    });
    graph.initializer.append(&mut hoisted);
}

/// The tensor that the node puts out, taken from it.
fn constant(node: &mut NodeProto) -> Option<TensorProto> {
    if node.op_type != "Constant" || !node.domain.is_empty() {
        return None;
    }
    let name = node.output.first()?.clone();
    let value = node.attribute.iter_mut().find(|attribute| attribute.name == "value")?;
    // In a function, the node that calls it may give the value.
    if !value.ref_attr_name.is_empty() {
        return None;
    }
    Some(TensorProto { name, ..*value.t.take()? })
}

/// Calls `visit` with every tensor of `model` but the weights of its graph: in nodes, branches, loops
/// and functions, and sparse ones.
///
/// # Errors
/// Those of `visit`.
pub fn visit_inner_tensors<E>(
    model: &mut ModelProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(graph) = &mut model.graph {
        for sparse in &mut graph.sparse_initializer {
            sparse.values.iter_mut().chain(&mut sparse.indices).try_for_each(&mut *visit)?;
        }
        nodes(&mut graph.node, visit)?;
    }
    for function in &mut model.functions {
        nodes(&mut function.node, visit)?;
        attributes(&mut function.attribute_proto, visit)?;
    }
    Ok(())
}

type Visit<'a, E> = &'a mut dyn FnMut(&mut TensorProto) -> Result<(), E>;

fn nodes<E>(nodes: &mut [NodeProto], visit: Visit<'_, E>) -> Result<(), E> {
    nodes.iter_mut().try_for_each(|node| attributes(&mut node.attribute, visit))
}

fn attributes<E>(attributes: &mut [AttributeProto], visit: Visit<'_, E>) -> Result<(), E> {
    for attribute in attributes {
        let sparse =
            attribute.sparse_tensor.as_deref_mut().into_iter().chain(&mut attribute.sparse_tensors);
        let sparse = sparse.flat_map(|sparse| sparse.values.iter_mut().chain(&mut sparse.indices));
        let dense = attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors);
        dense.chain(sparse).try_for_each(&mut *visit)?;
        for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            graph.initializer.iter_mut().try_for_each(&mut *visit)?;
            for sparse in &mut graph.sparse_initializer {
                sparse.values.iter_mut().chain(&mut sparse.indices).try_for_each(&mut *visit)?;
            }
            nodes(&mut graph.node, visit)?;
        }
    }
    Ok(())
}
