//! The door for plugins that are loaded: a C ABI, the host's side of it, and a kit for authors.
//!
//! ```text
//!   host                                   |  dynamic library
//!   Quantizer  <--  LoadedQuantizer  ------+->  table of functions  -->  Quantizer of a Rust author ([`sdk`])
//!   (a trait)       (`host`)          [`abi`]                       -->  or plain C
//! ```
//!
//! * [`abi`]: what crosses, in which order it is checked, who frees what and who may call when. The C header [`HEADER`]
//!   is made of it.
//! * [`Library`]: loads a library and registers what it has. From then on a config's `type` may name it, as
//!   it names what is linked in. Nothing is ever unloaded. The [`Manifest`] beside a file, if there is one, is read before.
//! * [`sdk`]: [`export!`] makes a library's door of config twins that implement the ordinary traits; [`sdk::log()`] says a
//!   line to the user.
//!
//! Authors begin with `mobillm plugins new`, which makes a folder that builds, and have the result judged by
//! `mobillm plugins check`. A library that was built for version 1.0 of the ABI is loaded by every later one with the same major
//! version: what is there does not move, and what is new comes at the end, where an older side does not look.
//!
//! What goes wrong on the other side is contained as far as one process can: a panic ends in the kit, and the
//! instance is not called again; a lie about shapes or sizes is an error that names plugin, slot and call; a writer or
//! sink that is kept reaches nothing; a call that hangs is told ([`watch`]), but for those that wait by their nature. A crash is
//! not contained: `mobillm plugins check` runs a library in a process of its own.
//!
//! # Example
//!
//! A library in this very program, its door used as that of a file:
//!
//! ```
//! use mobillm_core::registry::{Registry, Slot};
//! use mobillm_quantizers::Fp16Config;
//!
//! mobillm_plugin::export! { quantizers: [Fp16Config] }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // SAFETY: the door is of `export!`.
//! let library = unsafe { mobillm_plugin::Library::linked("example", mobillm_plugin) }?;
//! let mut registry = Registry::new();
//! library.register(&mut registry)?;
//! assert!(registry.entry(Slot::Quantizer, "fp16").is_some_and(|entry| entry.loaded));
//! # Ok(())
//! # }
//! ```

pub mod abi;
mod context;
#[cfg(test)]
mod documents;
mod handle;
mod host;
mod layout;
mod refusal;
pub mod sdk;
mod supervision;
mod tap;
mod tensors;
mod text;
mod value;

/// The C header, for those who hand it on: `mobillm plugins new` puts it beside a plugin in C.
pub const HEADER: &str = include_str!("../include/mobillm_plugin.h");

pub use host::{CallError, Component, Hang, Library, LibraryError, Manifest, watch};
