//! Our own components keep the laws behind the door of a library that is loaded.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "libraries/built.rs"]
mod built;
mod conformance;

use mobillm_plugin::Library;

/// What is held to the laws.
fn library() -> &'static Library {
    Library::named_by_user(&built::rust("mobillm_plugin_builtins")).unwrap()
}
