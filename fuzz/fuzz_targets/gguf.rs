//! Any bytes as a GGUF file: an error, or tensors that lie within it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = mobillm_gguf::fixture::read_all(file);
});
