//! Libraries in Rust that cargo has built for the tests.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;

/// The library of the crate `name`, a dependency of these tests: cargo built it beside them.
pub fn rust(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"));
    assert!(path.is_file(), "cargo should have built {}", path.display());
    path
}
