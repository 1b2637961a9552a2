//! The server: takes frames, trains the side network, keeps a run that can be gone on with.

mod decode;
mod folder;
mod session;

pub use folder::ServerFolder;
pub use session::{Served, ServerJob, serve};
