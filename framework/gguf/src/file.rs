//! A file as a memory map.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

use crate::{Gguf, GgufError};

/// A file that is mapped into memory: its weights are on disk until they are read.
#[derive(Debug)]
pub struct GgufFile(Mmap);

impl GgufFile {
    /// Maps the file at `path`. Nothing of it is read.
    ///
    /// # Errors
    /// If the system cannot open or map it.
    #[expect(unsafe_code, reason = "a map changes when its file does; see below")]
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the bytes are only read. Another process that writes to the file meanwhile could
        // change them under us: a header is copied out before it is checked, and what is read later is
        // numbers of any bits at places held against the map's length. So the worst are wrong weights,
        // or the signal that a truncated map raises.
        Ok(Self(unsafe { Mmap::map(&file)? }))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its header.
    ///
    /// # Errors
    /// As [`Gguf::parse`].
    pub fn parse(&self) -> Result<Gguf, GgufError> {
        Gguf::parse(self.bytes())
    }
}
