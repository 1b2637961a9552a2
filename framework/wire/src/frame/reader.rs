//! Bytes of a frame to numbers, with what was missing.

use bytes::Bytes;

use super::frame_error;
use crate::{VERSION, WireError};

/// Takes numbers off the front of a frame and says what was missing.
pub(super) struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// A frame from its beginning.
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Bytes that were not taken.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], WireError> {
        let got = self.bytes.len();
        let Some((head, _)) = self.bytes.split_first_chunk::<N>() else {
            return Err(frame_error(format!("{what}: expected {N} more bytes, got {got}")));
        };
        let head = *head;
        self.bytes = self.bytes.slice(N..);
        Ok(head)
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, WireError> {
        self.take::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, WireError> {
        self.take(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, WireError> {
        self.take(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, WireError> {
        self.take(what).map(u64::from_le_bytes)
    }

    /// A count of items that take at least `bytes` each: refused if they cannot be there.
    pub(super) fn count(&mut self, what: &str, bytes: usize) -> Result<usize, WireError> {
        let count = self.u32(what)? as usize;
        self.check(what, count, bytes)?;
        Ok(count)
    }

    pub(super) fn check(&self, what: &str, count: usize, bytes: usize) -> Result<(), WireError> {
        let got = self.bytes.len();
        match count.checked_mul(bytes) {
            Some(needed) if needed <= got => Ok(()),
            _ => Err(frame_error(format!("{count} {what} do not fit into {got} bytes"))),
        }
    }

    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    /// What another version wrote may lack what this one needs, so the version is looked at first.
    pub(super) fn versioned_json<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &str,
    ) -> Result<T, WireError> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u16,
        }
        match serde_json::from_slice::<Versioned>(&self.bytes) {
            Ok(Versioned { version }) if version != VERSION => Err(WireError::Version { version }),
            _ => self.json(what),
        }
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &str,
    ) -> Result<T, WireError> {
        serde_json::from_slice(&self.rest())
            .map_err(|error| frame_error(format!("{what}: {error}")))
    }
}
