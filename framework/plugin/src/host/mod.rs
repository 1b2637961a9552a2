//! The host's side: libraries, what they have, and the ordinary traits over their tables.

mod backbone;
mod component;
mod hang;
mod header;
mod instance;
mod interned;
mod library;
mod manifest;
mod privacy;
mod quantizer;
mod selector;
mod side_network;
mod table;
mod thread;
mod transport;

pub use hang::{Hang, watch};
pub use instance::CallError;
pub use library::{Component, Library, LibraryError};
pub use manifest::Manifest;

#[cfg(test)]
pub(crate) use {header::Listed, side_network::NetworkInfo};
