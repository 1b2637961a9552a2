//! The corpus of the fuzz target `onnx`: every file gets an answer, and no more memory than it is worth.

use mobillm_onnx::fixture::read_all;
use mobillm_testkit::corpus::{self, PeakAlloc};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn files_are_read_or_refused_and_get_no_more_memory_than_they_are_worth() {
    corpus::check("onnx", &HEAP, |size| (16 << 10) + 128 * size, |file| drop(read_all(file, 8)));
}
