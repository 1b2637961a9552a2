//! Side networks in candle: pure Rust, the default of the server and what a device predicts with.
//!
//! What the network is, its initial weights, its file and the optimizer's rule are those of
//! [`mobillm_adapter_portable`]; this crate computes them on the CPU, in f32.
//!
//! Matrix products are candle's, but for small ones, before which candle spends more on counting the
//! processors than on the product (`kernels::product`). The backward pass is written by hand
//! (`adapters`): a step on seven taps of 400 rows of 384 numbers, with a bottleneck of 64, took 40 ms
//! with candle's autograd and takes 12 by hand, of which the products are 7 (one thread of a 2-core x86
//! server). On 16 rows it takes 0.8 ms, to which the counting would add 1.4.
//!
//! It also keeps to the threads it is given: candle's element-wise operators on large tensors run in
//! a process-wide pool of their own.
//!
//! Equal seeds and batches give equal bits, whatever the number of threads.
//!
//! # Example
//!
//! ```
//! use mobillm_adapter_candle::CandleSideNetworkConfig;
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
//! let config = CandleSideNetworkConfig::default();
//! let mut network = config.build(&context)?;
//!
//! // two samples, one of two rows and one of one
//! let rows = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0, 0.0];
//! let batch = ActivationBatch::new(Layout::from_counts([2, 1]), 4, vec![rows])?;
//! for _ in 0..10 {
//!     network.train_step(&batch, &[Supervision::Label(0), Supervision::Label(1)])?;
//! }
//! let logits = network.predict(&batch)?;
//! assert!(logits[[0, 0]] > logits[[0, 1]] && logits[[1, 1]] > logits[[1, 0]]);
//!
//! // another process loads the adapter and predicts the same
//! let loaded = config.load(&network.adapter()?)?;
//! assert_eq!(loaded.predict(&batch)?, logits);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod adapters;
mod config;
#[cfg(test)]
mod gradients;
mod head;
mod kernels;
mod loss;
mod network;
mod optimizer;
mod pooling;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use config::CandleSideNetworkConfig;
pub use network::CandleSideNetwork;

/// Adds this crate's side network to `registry`.
///
/// # Errors
/// If its tag is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<CandleSideNetworkConfig>(env!("CARGO_PKG_NAME"))
}
