//! The ends of a file and the shape of its schema, before the reader believes them.
//!
//! The reader reserves room for as many columns as a nested column claims to hold, and calls itself for
//! each level of nesting: a few bad bytes of the footer would exhaust memory or stack, which nothing
//! can catch. So the schema's counts are read here first, from the Thrift compact protocol in which
//! the format writes its footer.

use std::fs::File;

use parquet::file::reader::ChunkReader;

use super::{damaged, reason};

const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";
/// The footer's length and the magic, behind it.
const TAIL: u64 = 8;
/// Far deeper than data is nested, far shallower than a stack.
const DEPTH: usize = 64;

/// Whether `file`, of `length` bytes, is Parquet with a sound schema.
pub(super) fn check(file: &File, length: u64) -> Result<(), String> {
    let bytes = |start, length| file.get_bytes(start, length).map_err(|error| reason(&error));
    let start = bytes(0, MAGIC.len().min(length as usize))?;
    if start.as_ref() == ENCRYPTED {
        return Err("it is encrypted; write it again without encryption".to_owned());
    }
    if start.as_ref() != MAGIC {
        return Err(format!(
            "it is no Parquet file: it starts with `{}`, not with `PAR1`; fetch the file itself, or set \
             `task.format` to what it is",
            start.escape_ascii()
        ));
    }
    let cut = || damaged("it starts as a Parquet file and does not end as one");
    let end = length.checked_sub(TAIL).ok_or_else(cut)?;
    let tail = bytes(end, TAIL as usize)?;
    let (footer, magic) = tail.split_first_chunk().ok_or_else(cut)?;
    if magic != MAGIC {
        return Err(cut());
    }
    let footer = u32::from_le_bytes(*footer);
    let start = end.checked_sub(footer.into()).ok_or_else(|| {
        damaged(format!("its footer claims {footer} bytes of a file of {length}"))
    })?;
    let footer = bytes(start, footer as usize)?;
    let children = Compact(&footer).children();
    check_tree(&children.ok_or_else(|| damaged("its footer cannot be read"))?)
}

/// Checks the numbers of `children` that the columns of a schema have, each column before its own.
fn check_tree(children: &[i64]) -> Result<(), String> {
    let mut open: Vec<i64> = Vec::new();
    for &count in children {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if count > children.len() as i64 {
            return Err(damaged(format!("a column claims {count} columns within it")));
        }
        if count > 0 {
            open.push(count);
        }
        if open.len() > DEPTH {
            return Err(format!("its columns are nested more than {DEPTH} deep; write it flat"));
        }
    }
    Ok(())
}

/// What is left to read of a message in Thrift's compact protocol. `None` is a message that is cut
/// short or is none.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    /// How many children each column of a footer's schema has, 0 for a column of values.
    fn children(&mut self) -> Option<Vec<i64>> {
        const SCHEMA: i64 = 2;
        const NUM_CHILDREN: i64 = 5;
        let mut children = Vec::new();
        self.fields(|footer, id, kind| {
            if (id, kind) != (SCHEMA, LIST) {
                return footer.skip(kind, DEPTH);
            }
            let (_, count) = footer.elements()?;
            for _ in 0..count {
                let mut found = 0;
                footer.fields(|column, id, kind| match id {
                    NUM_CHILDREN => column.zigzag().map(|count| found = count),
                    _ => column.skip(kind, DEPTH),
                })?;
                children.push(found);
            }
            Some(())
        })?;
        Some(children)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn advance(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Hands the number and type of each field of a struct to `read`, which reads its value.
    fn fields(&mut self, mut read: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            let (step, kind) = (header >> 4, header & 0xf);
            if kind == STOP {
                return Some(());
            }
            id = match step {
                0 => self.zigzag()?,
                step => id.checked_add(step.into())?,
            };
            read(self, id, kind)?;
        }
    }

    /// The type and number of a list's elements.
    fn elements(&mut self) -> Option<(u8, u64)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        Some((header & 0xf, count))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // A boolean field is its type; an element of a list has a byte.
            TRUE | FALSE => Some(()),
            BYTE => self.advance(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.advance(8),
            BINARY => self.varint().and_then(|length| self.advance(length)),
            LIST | SET => {
                let (kind, count) = self.elements()?;
                match kind {
                    TRUE | FALSE => self.advance(count),
                    kind => (0..count).try_for_each(|_| self.skip(kind, depth)),
                }
            }
            STRUCT => self.fields(|this, _, kind| this.skip(kind, depth)),
            _ => None,
        }
    }
}

const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A footer whose schema is `children`, between fields of other types.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 2, 0x19, 0xfc, children.len() as u8];
        for count in children {
            bytes.extend([0x48, 1, b'a', 0x15, 2 * count, 0]);
        }
        bytes.extend([0x29, 0x22, 0, 1, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn the_shape_of_the_schema_is_found() {
        assert_eq!(Compact(&footer(&[2, 0, 1, 0])).children(), Some(vec![2, 0, 1, 0]));
        assert_eq!(check_tree(&[2, 0, 1, 0]), Ok(()));
    }

    #[test]
    fn a_footer_that_is_cut_is_none() {
        let whole = footer(&[1, 0]);
        for end in 0..whole.len() {
            assert_eq!(Compact(&whole[..end]).children(), None, "{end}");
        }
    }

    #[test]
    fn columns_that_cannot_be_there_are_not_believed() {
        let error = check_tree(&[2, 1 << 30, 0]).unwrap_err();
        assert!(error.starts_with("a column claims 1073741824 columns within it;"), "{error}");
    }

    #[test]
    fn only_depth_counts_not_breadth() {
        assert!(check_tree(&[1; DEPTH + 1]).unwrap_err().starts_with("its columns are nested"));
        assert_eq!(check_tree(&[1; DEPTH]), Ok(()));
        let wide: Vec<i64> = std::iter::once(200).chain([1, 0].repeat(200)).collect();
        assert_eq!(check_tree(&wide), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Compact(&bytes).children().map(|children| check_tree(&children));
        }
    }
}
