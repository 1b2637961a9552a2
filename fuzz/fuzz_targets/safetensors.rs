//! Any bytes as a safetensors file: an error, or tensors that lie within it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mobillm_weights::fixture::read_all;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|file: &[u8]| {
    let _ = read_all(FOLDER.path(), file);
});
