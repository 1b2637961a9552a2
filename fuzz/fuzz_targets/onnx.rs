//! Any bytes as an ONNX model: an error, or messages that are written as they were read, and a graph
//! that is refused or gets its taps.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = mobillm_onnx::fixture::read_all(file, 8);
});
