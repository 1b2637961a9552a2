//! From a config file to a running pipeline: the crate that programs embed.
//!
//! ```text
//! Config::load -> Loaded --+-> Assembly (dimensions, checks, what leaves the device)
//!                          +-> pipeline::run      device and server as threads of one process
//!                          +-> pipeline::device   the device's half, over a transport
//!                          +-> pipeline::server   the server's half
//! run folder ------------- +-> Trained::open      predict and evaluate with what was trained
//! ```
//!
//! * [`config`]: TOML to a checked config, every mistake at once.
//! * [`check`]: the same with what the model and the data show.
//! * [`assembly`]: what a config amounts to for one model, before any weight is loaded.
//! * [`pipeline`]: runs it.
//! * [`device`], [`server`]: the two ends of the link; [`link`]: threads on one side, an asynchronous
//!   transport on the other.
//! * [`run`]: the run folder: what is written, and what a run goes on from.
//! * [`trained`]: a finished run, to predict with.
//!
//! Which plugins exist and where models and libraries are is the embedding program's business: it
//! fills an [`Environment`].
#![forbid(unsafe_code)]

pub mod assembly;
pub mod check;
pub mod config;
pub mod device;
pub mod egress;
mod environment;
mod error;
pub mod link;
pub mod pipeline;
pub mod progress;
pub mod run;
pub mod server;
mod stop;
pub mod trained;

pub use environment::Environment;
pub use error::{Asked, RunError};
pub use stop::{NoValue, Stop};
