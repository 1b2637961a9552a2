//! What operators take and give.

use std::fmt::Debug;

use ort::operator::{ComputeContext, FromKernelContext, KernelContext};
use ort::value::{PrimitiveTensorElementType, Shape, TensorRef, TensorRefMut};

/// A kernel's input `index`, or `None` if the node leaves it out.
pub(super) fn optional<T: PrimitiveTensorElementType + Debug>(
    context: &ComputeContext,
    index: usize,
) -> ort::Result<Option<TensorRef<'_, T>>> {
    if index >= context.num_inputs()? {
        return Ok(None);
    }
    context.input(index)?.map(|value| value.downcast()).transpose()
}

/// A kernel's input `index`.
pub(super) fn required<T: PrimitiveTensorElementType + Debug>(
    context: &ComputeContext,
    index: usize,
) -> ort::Result<TensorRef<'_, T>> {
    optional(context, index)?.ok_or_else(|| ort::Error::new(format!("input {index} is missing")))
}

/// A kernel's output `index`, made in the shape `dimensions`.
pub(super) fn output<'c, T: PrimitiveTensorElementType + Debug>(
    context: &'c ComputeContext,
    index: usize,
    dimensions: &[i64],
) -> ort::Result<TensorRefMut<'c, T>> {
    let output = context.output(index, Shape::from(dimensions))?;
    output.ok_or_else(|| ort::Error::new(format!("output {index} is missing")))?.downcast()
}

/// `[.., last]` with another last dimension.
pub(super) fn with_last(shape: &Shape, last: usize) -> Vec<i64> {
    let mut dimensions = shape.to_vec();
    if let Some(dimension) = dimensions.last_mut() {
        *dimension = last as i64;
    }
    dimensions
}

/// The last dimension of `shape`.
pub(super) fn last(shape: &Shape) -> ort::Result<usize> {
    let last = shape.last().copied().and_then(|last| usize::try_from(last).ok());
    last.ok_or_else(|| ort::Error::new("an input has no dimensions"))
}

/// The string attribute `name`, as one of `values`.
pub(super) fn choice<T: Copy>(
    context: &KernelContext<'_>,
    name: &str,
    values: &[(&str, T)],
) -> ort::Result<T> {
    let got: String = attribute(context, name)?;
    let found = values.iter().find(|(value, _)| *value == got);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
        ort::Error::new(format!("`{name}` is {got:?}, expected one of {known:?}"))
    })
}

/// The attribute `name`.
pub(super) fn attribute<'a, T: FromKernelContext<'a>>(
    context: &KernelContext<'a>,
    name: &str,
) -> ort::Result<T> {
    context.get(name).ok_or_else(|| ort::Error::new(format!("there is no attribute `{name}`")))
}
