//! A frozen backbone in candle, in pure Rust: no native library is needed.
//!
//! It reads the same bundles as the backbone `onnxruntime`, but not their graph: it computes what the
//! manifest's [`Network`](mobillm_bundle::network::Network) describes, with the tensors of
//! `weights.safetensors`. Its taps are those of the other one to 1e-3 (SmolLM2 in f32 and 4 bit: 3e-6).
//!
//! ```text
//! embedding --> tap 0 --> layer 1 --> tap 1 --> ... --> own prediction, if there is a head
//!                 |                     |
//!                 +--> sink             +--> sink, before the next layer runs
//! ```
//!
//! Layers above the highest tap are run only if the own prediction needs them.
//!
//! The weights are mapped and stay as they are stored, in every format; what is held beside them are
//! the hidden states of one micro-batch and, for each thread, a few dequantized rows of one matrix.
//! Padding is not computed: the tokens of a micro-batch stand one behind the other until they are
//! tapped, and attention works sample by sample. So a sample's taps do not depend on its batch mates,
//! with int8 weights to the bit.
//!
//! A hidden state is a tensor of candle's, and a step is one of its operators: where candle's own would
//! copy a mapped weight or round activations to 8 bit, one that is written here (`CustomOp1`).
//! The matrix products are those of `gemm`, as in candle itself. Each backbone has threads of its own.
//!
//! # Example
//!
//! ```
//! use mobillm_backbone_candle::CandleBackboneConfig;
//! use mobillm_bundle::fixture::TinyBert;
//! use mobillm_core::backbone::{
//!     BackboneConfig, BackboneContext, ForwardContext, NativeLibraries, Tap, TokenBatch,
//! };
//!
//! let folder = tempfile::tempdir()?;
//! let bundle = TinyBert::default().bundle(&folder.path().join("bundle"))?;
//! let context = BackboneContext {
//!     bundle: bundle.path().to_owned(),
//!     taps: vec![0, 2],
//!     label_tokens: vec![],
//!     libraries: NativeLibraries::default(),
//! };
//! let mut backbone = CandleBackboneConfig::default().build(&context)?;
//!
//! let tokens = bundle.tokenizer(None)?.encode("the tap gets out early", None)?.tokens;
//! let batch = TokenBatch::new([&tokens], bundle.padding());
//! let mut seen = Vec::new();
//! let mut sink = |tap: Tap<'_>| {
//!     seen.push((tap.layer, tap.hidden.dim()));
//!     Ok(())
//! };
//! backbone.forward(&batch, &ForwardContext::default(), &mut sink)?;
//! assert_eq!(seen, [(0, (1, 7, 16)), (2, (1, 7, 16))]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod attention;
mod backbone;
mod config;
mod embedding;
mod head;
mod int8;
mod layer;
mod linear;
mod norm;
mod numbers;
mod product;
mod rows;
mod tensors;

pub use backbone::CandleBackbone;
pub use config::CandleBackboneConfig;

use mobillm_core::registry::{DuplicateTag, Registry};

/// Adds this crate's plugins to `registry`.
///
/// # Errors
/// If the tag `candle` is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<CandleBackboneConfig>(env!("CARGO_PKG_NAME"))
}
