//! Any bytes as a `tokenizer.json`: an error, or tokens.

#![no_main]

use std::panic;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mobillm_bundle::fixture::ForeignFiles;

static FILES: LazyLock<ForeignFiles> = LazyLock::new(|| ForeignFiles::new().unwrap());

fuzz_target!(
    // Panics of the tokenizers crate are caught and become errors; the fuzzer's hook would end the
    // process first. One that nobody catches still does.
    init: panic::set_hook(Box::new(|_| {})),
    |file: &[u8]| {
        let _ = FILES.tokenizer(file);
    }
);
