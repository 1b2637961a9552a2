//! How much a file is believed to hold.
//!
//! Runs and dictionaries let a few bytes stand for any number of values, and Zstandard for any
//! number of bytes. A real data set unfolds to far less than [`believed`] allows; a file that
//! unfolds to more is refused before it exhausts memory.

use crate::rows::Row;

/// The most that one byte of Deflate can stand for, in bytes.
const EXPANSION: u64 = 1032;
/// What even the smallest file may unfold to, in bytes: of one text in all rows, little is stored.
const ROOM: u64 = 16 << 20;

/// The most bytes that `bytes` of a file may unfold to.
pub(super) fn believed(bytes: u64) -> u64 {
    bytes.saturating_mul(EXPANSION).saturating_add(ROOM)
}

/// The most rows that a file of `length` bytes may have.
pub(super) fn believed_rows(length: u64) -> u64 {
    believed(length) / size_of::<Row>() as u64
}

/// What is left of the bytes that the cells of a file may have in all.
pub(super) struct Budget {
    length: u64,
    left: u64,
}

impl Budget {
    /// That of a file of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        Self { length, left: believed(length) }
    }

    /// Takes the bytes of one cell.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes as u64).ok_or_else(|| {
            let (length, most) = (self.length, believed(self.length));
            format!(
                "the cells up to here have more than {most} bytes, the most that is read from a \
                 file of {length}; leave out rows that are alike, or write the file as JSONL"
            )
        })?;
        self.left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_where_it_says() {
        let mut budget = Budget::new(1000);
        let most = 1000 * 1032 + 16 * 1024 * 1024;
        assert_eq!(budget.take(most), Ok(()));
        let error = budget.take(1).unwrap_err();
        assert!(error.contains("more than 17809216 bytes"), "{error}");
        assert!(error.contains("from a file of 1000;"), "{error}");
        assert_eq!(budget.take(0), Ok(()));
    }

    #[test]
    fn no_length_overflows() {
        assert_eq!(believed(u64::MAX), u64::MAX);
    }
}
