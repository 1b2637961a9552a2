//! Any bytes as a safetensors file: an error, or tensors that lie within it.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mobillm_weights::fixture::{FILE, read_all};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|file: &[u8]| {
    let path = FOLDER.path().join(FILE);
    // A new file each time: the one before may still be mapped.
    let _ = fs::remove_file(&path);
    fs::write(path, file).unwrap();
    let _ = read_all(FOLDER.path());
});
