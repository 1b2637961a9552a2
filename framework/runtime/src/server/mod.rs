//! The server: takes frames, keeps samples, trains the side network, keeps a run that can be gone on
//! with.

mod cache;
mod decode;
mod folder;
mod session;
mod training;

pub use folder::{RunShape, ServerFolder};
pub use session::{Served, ServerJob, serve};
pub use training::train_alone;
