//! Our own components keep the laws behind the door of a library that is loaded.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod libraries;

use mobillm_plugin::Library;

/// What is held to the laws.
fn library() -> &'static Library {
    libraries::load(&libraries::rust("mobillm_plugin_builtins")).unwrap()
}
