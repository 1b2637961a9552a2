//! Reads numbers and strings from the front of a file, never past its end.

use std::fmt::Display;

use crate::GgufError;

/// A place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Self {
        Self { file, at: 0 }
    }

    /// Bytes before this place.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes from this place on.
    pub(crate) fn left(&self) -> usize {
        self.file.len() - self.at
    }

    /// The next `count` bytes, which are `what`.
    pub(crate) fn take(&mut self, count: u64, what: &dyn Display) -> Result<&'a [u8], GgufError> {
        let rest = &self.file[self.at..];
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let taken = taken.ok_or_else(|| GgufError::Truncated {
            what: what.to_string(),
            at: self.at,
            needs: count,
            left: rest.len(),
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    /// The next `N` bytes, which are `what`.
    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &dyn Display,
    ) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(crate) fn u32(&mut self, what: &dyn Display) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &dyn Display) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string: its length in bytes, then UTF-8. It is checked when it is copied: the bytes of a file
    /// may change.
    pub(crate) fn string(&mut self, what: &dyn Display) -> Result<String, GgufError> {
        let length = self.u64(&format_args!("the length of {what}"))?;
        let at = self.at;
        let bytes = self.take(length, what)?.to_vec();
        String::from_utf8(bytes).map_err(|error| GgufError::Text {
            what: what.to_string(),
            at: at + error.utf8_error().valid_up_to(),
        })
    }
}
