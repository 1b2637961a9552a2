//! Kernels of layers whose matrices are int8, and in which a sample's result does not depend on its
//! batch mates: those of ONNX Runtime scale a whole tensor at once, or round otherwise for other
//! shapes, and a difference in rounding, quantized, becomes one of a whole step.
//!
//! ```text
//! row of activations  norm, activate -> quantize -> integers and the row's scale
//!                                                        |
//! int8 matrix, where the bundle's file has it  ----> Product -> floats (+ bias + residual)
//!                                                                 |
//!                                                             Attention
//! ```
//!
//! A row keeps as many levels as let its products be summed in 32 bits without overflow
//! ([`levels`]): 15 bits of a row of 500, 13 of one of 2,000. With the 127 levels of a byte, rows whose
//! largest value is an outlier, which decoders have in every layer, lose the others: on SmolLM2-135M
//! they moved the logits of an answer by a quarter of their spread.
//!
//! Sums of integers are exact and those of floats run in an order that the row alone decides. Every
//! kernel is there for AVX-512 with VNNI, AVX2, and in portable Rust; [`Isa`] says which the machine has.
//! Kernels that are worth several threads are cut into tasks, which the caller runs where he likes.
//!
//! # Example
//!
//! ```
//! use mobillm_int8::{Isa, Product, Shared, quantize};
//!
//! let isa = Isa::fastest();
//! let row = [0.5, -2.0, 1.0, 0.0];
//! let mut quants = [0; 4];
//! let scale = quantize(isa, &row, &mut quants);
//!
//! // [inputs, outputs]: the second output is four times the sum.
//! let weight = [1, 4, 1, 4, 1, 4, 1, 4];
//! let product = Product {
//!     quants: &quants,
//!     scales: &[scale],
//!     weight: &weight,
//!     weight_scales: &[1.0, 1.0],
//!     bias: None,
//!     residual: Some(&[10.0, 20.0]),
//!     width: 2,
//!     from: 0,
//! };
//! product.check()?;
//! let mut output = [0.0; 2];
//! let shared = Shared::new(&mut output);
//! for task in 0..product.tasks() {
//!     // SAFETY: the lengths were checked, and each task runs once.
//!     unsafe { product.run(isa, task, &shared) };
//! }
//! assert!((output[0] - 9.5).abs() < 1e-3 && (output[1] - 18.0).abs() < 1e-3);
//! # Ok::<(), String>(())
//! ```

mod attention;
mod isa;
mod math;
mod product;
mod rows;
mod shared;

pub use attention::{Attention, Heads, Rotation};
pub use isa::Isa;
pub use product::{MAX_INPUTS, Product};
pub use rows::{Activation, NormKind, activate, levels, norm, quantize};
pub use shared::Shared;
