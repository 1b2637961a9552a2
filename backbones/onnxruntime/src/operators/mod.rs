//! What ONNX Runtime lacks for int8 weights whose taps do not depend on batch mates: operators of
//! the domain `mobillm`.
//!
//! Its own dynamic int8 takes one scale for a whole tensor, so a sample changes with those beside it.
//! Here every row (token) is quantized by itself:
//!
//! ```text
//! QuantizeRows(x)                            -> integers, scale of each row
//! NormQuantizeRows(x, weight[, bias])        -> the same of the norm
//! ActivateQuantizeRows(x[, up])              -> the same of activation(x) * up
//! Int8Linear(integers, scales, weight, weight_scales[, bias][, residual]) -> floats
//! Attention(query, key, value[, frequencies][, attention_mask])           -> floats
//! ```
//!
//! `mobillm-bundle` says what the operators mean, [`mobillm_int8`] computes them; here is how ONNX
//! Runtime calls them.

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
