//! The corpus of the fuzz target `gguf`: every file gets an answer, and no more memory than it is worth.

use mobillm_gguf::fixture::read_all;
use mobillm_testkit::corpus::{self, PeakAlloc};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn files_are_read_or_refused_and_get_no_more_memory_than_they_are_worth() {
    corpus::check("gguf", &HEAP, |size| 4096 + 16 * size, |file| drop(read_all(file)));
}
