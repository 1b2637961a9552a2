//! The corpus of the fuzz target `frame`: everything that the other end may send gets an answer, and no
//! more memory than it is worth.

use bytes::Bytes;
use mobillm_testkit::corpus::{self, PeakAlloc};
use mobillm_wire::frame::Frame;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn frames_are_read_or_refused_and_get_no_more_memory_than_they_are_worth() {
    // Positions that are counted and not listed need not be in the frame; a vector doubles as it grows.
    let counted = (1 << 23) * size_of::<u32>();
    let read = |frame: &[u8]| drop(Frame::parse(Bytes::copy_from_slice(frame)));
    corpus::check("frame", &HEAP, |size| counted + 4096 + 16 * size, read);
}
