//! The operators of int8 graphs, as ONNX Runtime calls them.

mod attention;
mod linear;
mod rows;
mod tensors;

use ort::operator::OperatorDomain;

/// `domain` with the operators of int8 graphs.
pub(crate) fn add_to(domain: OperatorDomain) -> ort::Result<OperatorDomain> {
    let domain = domain.add(linear::Int8Linear)?.add(attention::AttentionOperator)?;
    rows::RowsOperator::ALL.into_iter().try_fold(domain, OperatorDomain::add)
}

#[cfg(test)]
mod tests;
