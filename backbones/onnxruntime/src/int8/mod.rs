//! What ONNX Runtime lacks for int8 weights whose taps do not depend on batch mates: operators of
//! the domain `mobillm`.
//!
//! Its own dynamic int8 takes one scale for a whole tensor, so a sample changes with those beside it.
//! Here every row (token) is quantized by itself:
//!
//! ```text
//! QuantizeRows(x)                            -> bytes, scale of each row
//! NormQuantizeRows(x, weight[, bias])        -> the same of the norm
//! ActivateQuantizeRows(x[, up])              -> the same of activation(x) * up
//! Int8Linear(bytes, scales, weight, weight_scales[, bias][, residual]) -> floats
//! Attention(query, key, value[, frequencies][, attention_mask])        -> floats
//! ```
//!
//! Integer sums are exact and float sums run in an order that the row alone decides, so a sample's
//! taps are the same bits with any batch mates. `mobillm-bundle` says what the operators mean; here
//! is how they are computed: [`rows`], [`product`], [`attention`], each for several instruction sets.

mod attention;
mod isa;
mod math;
mod operators;
mod product;
mod rows;
mod shared;

pub(crate) use operators::add_to;
