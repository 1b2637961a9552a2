//! The corpora of the fuzz targets of whole models: every file gets an answer, and no more memory than it
//! is worth.

use std::panic;

use mobillm_bundle::fixture::ForeignFiles;
use mobillm_testkit::corpus::{self, PeakAlloc};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One test: what is counted is that of the whole program.
#[test]
fn files_are_read_or_refused_and_get_no_more_memory_than_they_are_worth() {
    let files = ForeignFiles::new().unwrap();
    // Panics of the tokenizers crate become errors; a backtrace of one would take more than any file.
    panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    // The weights beside the config are read too.
    corpus::check("config", &HEAP, |size| (1 << 20) + 16 * size, |file| drop(files.config(file)));
    corpus::check("model", &HEAP, |size| (1 << 20) + 64 * size, |file| drop(files.gguf(file)));
    // Patterns are compiled, to programs that are larger than they are.
    corpus::check(
        "tokenizer",
        &HEAP,
        |size| (1 << 20) + 64 * size,
        |file| {
            drop(files.tokenizer(file));
        },
    );
}
