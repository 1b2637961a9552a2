//! Taps that wait on the device's disk: what is kept of many rows is not kept in memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::RunError;

/// A file without a name in a run folder: it is gone when this is dropped, however the process ends.
pub struct Spill {
    file: File,
    folder: PathBuf,
    end: u64,
}

impl Spill {
    /// An empty one in `folder`.
    ///
    /// # Errors
    /// If no file can be made there.
    pub fn new(folder: &Path) -> Result<Self, RunError> {
        let file = tempfile::tempfile_in(folder).map_err(RunError::file("write to", folder))?;
        Ok(Self { file, folder: folder.to_owned(), end: 0 })
    }

    /// Appends `bytes`, and says where they are.
    ///
    /// # Errors
    /// If the disk takes no more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Range<u64>, RunError> {
        self.file.write_all(bytes).map_err(RunError::file("write to", &self.folder))?;
        let from = self.end;
        self.end += bytes.len() as u64;
        Ok(from..self.end)
    }

    /// The bytes at `place`.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn read(&mut self, place: &Range<u64>) -> Result<Vec<u8>, RunError> {
        let mut bytes = vec![0; (place.end - place.start) as usize];
        let sought = self.file.seek(SeekFrom::Start(place.start));
        let read = sought.and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(RunError::file("read from", &self.folder))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_any_order_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path()).unwrap();
        let places: Vec<_> =
            [&b"one"[..], b"", b"three"].map(|part| spill.write(part).unwrap()).into();
        for (place, expected) in places.iter().zip([&b"one"[..], b"", b"three"]).rev() {
            assert_eq!(spill.read(place).unwrap(), expected);
        }
        assert!(spill.read(&(7..9)).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
