//! Any bytes as a `config.json` beside the weights of a model: an error, or the model.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mobillm_bundle::fixture::ForeignFiles;

static FILES: LazyLock<ForeignFiles> = LazyLock::new(|| ForeignFiles::new().unwrap());

fuzz_target!(|file: &[u8]| {
    let _ = FILES.config(file);
});
