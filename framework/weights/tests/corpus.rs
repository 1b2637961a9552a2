//! The corpus of the fuzz target `safetensors`: every file gets an answer, and no more memory than it is
//! worth.

use mobillm_testkit::corpus::{self, PeakAlloc};
use mobillm_weights::fixture::read_all;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn files_are_read_or_refused_and_get_no_more_memory_than_they_are_worth() {
    let folder = tempfile::tempdir().unwrap();
    let read = |file: &[u8]| drop(read_all(folder.path(), file));
    corpus::check("safetensors", &HEAP, |size| 4096 + 16 * size, read);
}
