//! Side networks in libtorch, on the CPU or on a CUDA device.
//!
//! What the network is, its initial weights, its file and the optimizer's rule are those of
//! [`mobillm_adapter_portable`]; this crate computes them with PyTorch's library and its autograd,
//! in f32. What it trains, `mobillm-adapter-candle` loads and predicts equally, and the other way
//! round.
//!
//! It links libtorch 2.13.0: point `LIBTORCH` at its folder to build. Two things are made of it:
//!
//! * a library that a config loads, so that the program itself neither links nor needs libtorch. It looks for libtorch
//!   in the folder `libtorch` beside itself, then where it was built against. `cargo xtask libtorch` builds it.
//! * the crate that a program links in, without the feature `plugin`; let the loader find `$LIBTORCH/lib` to run.
//!
//! Both give the same adapter. Equal seeds and batches give equal bits on one machine with one number of threads.
//!
//! # Example
//!
//! ```
//! use mobillm_adapter_libtorch::LibtorchSideNetworkConfig;
//! use mobillm_core::activations::{ActivationBatch, Layout};
//! use mobillm_core::privacy::{Supervision, SupervisionKind};
//! use mobillm_core::side_network::{Optimizer, SideNetworkConfig, SideNetworkContext};
//! use mobillm_core::{backbone::Pooling, fingerprint::Fingerprint, sample::Objective};
//!
//! let context = SideNetworkContext {
//!     taps: vec![6],
//!     hidden: 4,
//!     pooling: Pooling::Mean,
//!     objective: Objective::Classification { classes: 2 },
//!     supervision: SupervisionKind::Truth,
//!     optimizer: Optimizer::default(),
//!     steps: 10,
//!     seed: 1,
//!     bundle: Fingerprint::of(b"a bundle"),
//! };
//! let mut network = LibtorchSideNetworkConfig::default().build(&context)?;
//!
//! // two samples, one of two rows and one of one
//! let rows = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0, 0.0];
//! let batch = ActivationBatch::new(Layout::from_counts([2, 1]), 4, vec![rows])?;
//! for _ in 0..10 {
//!     network.train_step(&batch, &[Supervision::Label(0), Supervision::Label(1)])?;
//! }
//! let logits = network.predict(&batch)?;
//! assert!(logits[[0, 0]] > logits[[0, 1]] && logits[[1, 1]] > logits[[1, 0]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
// The door exports a symbol.
#![cfg_attr(not(feature = "plugin"), forbid(unsafe_code))]

mod adapters;
mod config;
mod loss;
mod network;
mod optimizer;
mod pooling;
mod tensors;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use config::{DeviceChoice, LibtorchSideNetworkConfig};
pub use network::LibtorchSideNetwork;

#[cfg(feature = "plugin")]
mobillm_plugin::export! { side_networks: [LibtorchSideNetworkConfig] }

/// Adds this crate's side network to `registry`.
///
/// # Errors
/// If its tag is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<LibtorchSideNetworkConfig>(env!("CARGO_PKG_NAME"))
}
