//! Our own components keep the laws behind a door of this very program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;

use std::sync::OnceLock;

use mobillm_plugin::Library;

/// What is held to the laws.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<&Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // SAFETY: the door is of `export!`.
        unsafe { Library::linked("builtins", mobillm_plugin_builtins::mobillm_plugin) }.unwrap()
    })
}
