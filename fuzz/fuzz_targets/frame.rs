//! Any bytes as a frame from the other end of a link: an error, or what they say.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mobillm_wire::frame::Frame;

fuzz_target!(|frame: &[u8]| {
    let _ = Frame::parse(Bytes::copy_from_slice(frame));
});
