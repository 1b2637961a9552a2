//! A frozen backbone in ONNX Runtime whose taps stream while the graph runs.
//!
//! Asked for hidden states as graph outputs, ONNX Runtime hands them out after all layers have
//! run: the device would hold the taps of all of them. Here each tapped layer gets an identity
//! operator, written in Rust, in the middle of the graph:
//!
//! ```text
//! layer i --> Tap(i) --> layer i+1 --> ...
//!                |
//!                +--> sink, while the graph waits
//! ```
//!
//! Layer i+1 takes the output of `Tap(i)`, so it cannot run before the sink has returned. The
//! output is the input's memory: nothing is copied.
//!
//! If the model has a task head, its own prediction comes back when the graph is through, after the
//! last tap. It costs the layers above the highest tap; without a head they are not run.
//!
//! The bundle's weights are not read into memory but mapped; ONNX Runtime packs the matrices
//! for its kernels (once, about the size of the layers' weights) and lets go of the mapping.
//!
//! # Example
//!
//! ```
//! use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
//! use mobillm_bundle::fixture::TinyBert;
//! use mobillm_core::backbone::{
//!     BackboneConfig, BackboneContext, ForwardContext, NativeLibraries, Tap, TokenBatch,
//! };
//!
//! let library = mobillm_pull::pull(&mobillm_pull::Cache::user()?, "onnxruntime", &mut |_| {})?;
//! let libraries = NativeLibraries([("onnxruntime".to_owned(), library)].into());
//!
//! let folder = tempfile::tempdir()?;
//! let bundle = TinyBert::default().bundle(&folder.path().join("bundle"))?;
//! let context =
//!     BackboneContext { bundle: bundle.path().to_owned(), taps: vec![0, 2], label_tokens: vec![], libraries };
//! let mut backbone = OnnxBackboneConfig::default().build(&context)?;
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

mod backbone;
mod config;
mod engine;
mod graph;
mod int8;
mod library;
mod provider;
mod tap;

pub use backbone::OnnxBackbone;
pub use config::OnnxBackboneConfig;
pub use provider::Provider;

use mobillm_core::registry::{DuplicateTag, Registry};

/// Adds this crate's plugins to `registry`.
///
/// # Errors
/// If the tag `onnxruntime` is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<OnnxBackboneConfig>(env!("CARGO_PKG_NAME"))
}
