//! What every side network engine shares: the architecture, its initial weights, what a batch must
//! look like, the optimizer's rule and the adapter file.
//!
//! An engine (candle, libtorch) computes; this crate says what. So two engines are the same network:
//! from one [`SideNetworkContext`](mobillm_core::side_network::SideNetworkContext) both start with
//! the same bits, follow the same rule, and read what the other wrote.
//!
//! * [`Architecture`]: which network, its options, and what it can be trained on. Adapters one beside
//!   each tapped layer (`parallel-adapter`), or all taps projected to one width and pooled over the
//!   tokens (`parallel-pooling`), answer alone; `additive-adapter` and `additive-pooling` are added to
//!   the device's own prediction.
//! * [`Blueprint`]: an architecture with the dimensions of one task; names and shapes of its
//!   parameters, their initial values, and the checks that a batch must pass.
//! * [`PooledRows`], [`Targets`]: a checked batch, as an engine wants it.
//! * [`AdamWStep`]: one step of the optimizer, spelled out.
//! * [`file`](mod@file): adapter and checkpoint, safetensors with one JSON header.
//!
//! # Example
//!
//! The weights that every engine starts from, through the adapter file and back:
//!
//! ```
//! use mobillm_adapter_portable::{Architecture, Blueprint, file};
//! use mobillm_core::{backbone::Pooling, fingerprint::Fingerprint, sample::Objective};
//!
//! let blueprint = Blueprint {
//!     architecture: Architecture::default(),
//!     taps: vec![0, 3, 6],
//!     hidden: 8,
//!     pooling: Pooling::Mean,
//!     objective: Objective::Classification { classes: 2 },
//!     bundle: Fingerprint::of(b"a bundle"),
//! };
//! let weights = blueprint.initial(42);
//! let bytes = file::write_adapter(&blueprint, &weights)?;
//! assert_eq!(file::read_adapter(&bytes)?, (blueprint, weights));
//! # Ok::<(), mobillm_core::side_network::SideNetworkError>(())
//! ```
#![forbid(unsafe_code)]

mod adamw;
mod architecture;
mod batch;
mod blueprint;
pub mod file;
mod network;
mod parameter;

pub use adamw::AdamWStep;
pub use architecture::Architecture;
pub use batch::{PooledRows, Targets};
pub use blueprint::{Blueprint, LAYER_NORM_EPSILON, Training, Weights};
pub use network::{Activation, Bottleneck, Network, Projection};
pub use parameter::Parameter;
