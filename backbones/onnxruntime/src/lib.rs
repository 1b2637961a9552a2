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
//! last tap. So does the score of each label token of a model with a language head, if some are
//! asked for; of its matrix only their rows are read. It costs the layers above the highest tap;
//! without it they are not run.
//!
//! # Memory
//!
//! The bundle's weights are not read into memory but mapped. In int8 they are used from there: a
//! session of SmolLM2-135M's shape takes 10 MB beyond the library when it is loaded, and the 106 MB
//! of its layers lie in pages that the system can take back. Of f32, q8 and q4 ONNX Runtime makes a
//! copy in its kernels' order (once, of the same size) and lets go of the mapping; the scales of q8
//! and q4 stay mapped. What it allocates is kept from batch to batch (`arena`) and can be limited
//! (`memory_limit_mb`).
//!
//! # Speed
//!
//! [int8](mobillm_bundle::WeightFormat::Int8) weights are multiplied by operators of this crate (their
//! kernels are in [`mobillm_int8`]), whose results are equal to the bit whatever a sample's batch mates.
//!
//! # Accelerators
//!
//! `providers` asks for what the library was built with. Some take parts of the graph as a whole
//! (Core ML, oneDNN, QNN, NNAPI): an operator between two layers would cut these in two. There, taps
//! are outputs of the graph, which come when it has run; micro-batches should be small.
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
mod library;
mod operators;
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
