//! The corpora of the fuzz targets in `fuzz/`, read by ordinary tests: for crates of mobillm's own repository, where
//! that folder is.
//!
//! A corpus is a folder of small files: sound ones, and those that once broke a parser or showed it
//! something new. [`check`] gives each to the function that the target calls, in a program whose
//! allocator counts:
//!
//! ```no_run
//! use mobillm_testkit::corpus::{self, PeakAlloc};
//!
//! #[global_allocator]
//! static HEAP: PeakAlloc = PeakAlloc;
//!
//! corpus::check("gguf", &HEAP, |size| 64 * size, |file| assert!(file.len() < 1 << 20));
//! ```

use std::fs;
use std::path::{Path, PathBuf};

pub use peak_alloc::PeakAlloc;

/// Calls `read` with every file in the corpus of the fuzz target `target`. It counts what all threads
/// allocate, so a program has one test that calls it.
///
/// # Panics
/// If `read` does, or if it needs more memory at a time than `allowed` gives a file of so many bytes; and
/// if there is no file.
pub fn check(
    target: &str,
    heap: &PeakAlloc,
    allowed: impl Fn(usize) -> usize,
    mut read: impl FnMut(&[u8]),
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = files(&folder);
    assert!(!files.is_empty(), "{} has no files", folder.display());
    for path in files {
        let file = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let before = heap.current_usage();
        heap.reset_peak_usage();
        read(&file);
        let (needed, allowed) = (heap.peak_usage() - before, allowed(file.len()));
        assert!(
            needed <= allowed,
            "{} of {} bytes: {needed} bytes were allocated, but {allowed} are allowed",
            path.display(),
            file.len()
        );
    }
}

/// The files in `folder`, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}
