//! The pages of a column chunk, their claims checked before the decoder believes them.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{CompressionCodec, Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::SerializedPageReader;

use super::limits::believed;
use super::{codec, damaged, reason};

/// The pages of one column chunk, decompressed.
pub(super) struct Pages {
    /// Reads them as they are: it is told that they are not compressed.
    raw: SerializedPageReader<File>,
    check: Check,
}

impl Pages {
    /// The pages of `chunk` in `file`, which has `length` bytes.
    pub(super) fn open(
        file: &Arc<File>,
        length: u64,
        chunk: &ColumnChunkMetaData,
        rows: usize,
    ) -> std::result::Result<Self, String> {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let within = |start: i64, bytes: i64| {
            let end = u64::try_from(start).ok()?.checked_add(u64::try_from(bytes).ok()?)?;
            (end <= length).then_some(())
        };
        within(start, chunk.compressed_size()).ok_or_else(|| {
            let bytes = chunk.compressed_size();
            damaged(format!("it claims {bytes} bytes from byte {start} of a file of {length}"))
        })?;
        let check = Check::new(chunk);
        codec::check(check.codec)?;
        let raw = chunk.clone().into_builder();
        let raw = raw.set_compression_codec(CompressionCodec::UNCOMPRESSED).build();
        let raw = raw.and_then(|chunk| SerializedPageReader::new(file.clone(), &chunk, rows, None));
        Ok(Self { raw: raw.map_err(|error| reason(&error))?, check })
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.raw.get_next_page()?.map(|page| self.check.page(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.raw.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.raw.skip_next_page()
    }
}

/// What the pages of a chunk have to be.
struct Check {
    codec: CompressionCodec,
    nullable: bool,
    /// What its values are.
    kind: Type,
    dictionary: bool,
}

impl Check {
    fn new(chunk: &ColumnChunkMetaData) -> Self {
        let column = chunk.column_descr();
        Self {
            codec: chunk.compression_codec(),
            nullable: column.max_def_level() > 0,
            kind: column.physical_type(),
            dictionary: false,
        }
    }

    /// The page, decompressed, one with data in version 2 of the format. The decoder may rely on
    /// the sizes and encodings in it.
    fn page(&mut self, page: Page) -> Result<Page> {
        match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let most = believed(buf.len() as u64);
                let buf = self.decompress(&buf)?;
                self.check_dictionary(&buf, num_values, most)?;
                self.dictionary = true;
                Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted })
            }
            Page::DataPage { buf, num_values, encoding, def_level_encoding, .. } => {
                self.check_values(encoding)?;
                if self.nullable && def_level_encoding != Encoding::RLE {
                    return Err(unread(def_level_encoding));
                }
                let buf = self.decompress(&buf)?;
                if !self.nullable {
                    return Ok(self.data(encoding, num_values, buf, 0));
                }
                let Some((levels, rest)) = buf.split_first_chunk() else {
                    return Err(damage(format!("a page of {} bytes has no levels", buf.len())));
                };
                let levels = u32::from_le_bytes(*levels);
                check_levels(levels.into(), rest.len())?;
                let start = buf.len() - rest.len();
                Ok(self.data(encoding, num_values, buf.slice(start..), levels))
            }
            Page::DataPageV2 {
                mut buf,
                num_values,
                encoding,
                def_levels_byte_len: levels,
                rep_levels_byte_len: repetitions,
                is_compressed,
                ..
            } => {
                self.check_values(encoding)?;
                check_levels(u64::from(levels) + u64::from(repetitions), buf.len())?;
                // A column that is not nested repeats nothing.
                let mut buf = buf.split_off(repetitions as usize);
                // The levels are not compressed, and a page of nulls has nothing behind them.
                let values = buf.slice(levels as usize..);
                if is_compressed && !values.is_empty() {
                    buf = [&buf[..levels as usize], &self.decompress(&values)?].concat().into();
                }
                Ok(self.data(encoding, num_values, buf, levels))
            }
        }
    }

    /// Whether the dictionary in `buf` has `num_values` values, and they take `most` bytes at the
    /// most once they are values.
    fn check_dictionary(&self, buf: &[u8], num_values: u32, most: u64) -> Result<()> {
        let there = match self.kind {
            Type::BYTE_ARRAY => strings(buf, num_values).into(),
            // No other value that has a dictionary is shorter than 4 bytes.
            _ => buf.len() as u64 / 4,
        };
        let most = there.min(most / size_of::<ByteArray>() as u64);
        match u64::from(num_values) > most {
            true => Err(damage(format!(
                "a dictionary of {} bytes claims {num_values} values, at most {most} are read",
                buf.len()
            ))),
            false => Ok(()),
        }
    }

    /// A page with `levels` bytes of levels and its values behind them.
    ///
    /// The decoder reads as many values as a page has beside nulls, and some decoders panic where
    /// there are fewer. So what is not there is a null: if the levels say otherwise, it is an error.
    fn data(&self, encoding: Encoding, num_values: u32, buf: Bytes, levels: u32) -> Page {
        let bytes = &buf[levels as usize..];
        let wide = |width| num_values.min(u32::try_from(bytes.len() / width).unwrap_or(u32::MAX));
        let values = match (encoding, self.kind) {
            (Encoding::PLAIN, Type::BYTE_ARRAY) => strings(bytes, num_values),
            (Encoding::BYTE_STREAM_SPLIT, Type::INT32 | Type::FLOAT) => wide(4),
            (Encoding::BYTE_STREAM_SPLIT, _) => wide(8),
            _ => num_values,
        };
        Page::DataPageV2 {
            buf,
            num_values,
            encoding,
            num_nulls: num_values - values,
            num_rows: num_values,
            def_levels_byte_len: levels,
            rep_levels_byte_len: 0,
            is_compressed: false,
            statistics: None,
        }
    }

    fn decompress(&self, page: &Bytes) -> Result<Bytes> {
        match self.codec {
            CompressionCodec::UNCOMPRESSED => Ok(page.clone()),
            // Some writers leave a page without values empty.
            _ if page.is_empty() => Ok(Bytes::new()),
            codec => codec::decompress(codec, page).map(Bytes::from).map_err(damage),
        }
    }

    /// Whether values in `encoding` are decoded. The delta encodings of strings are not: their
    /// decoder allocates what they claim.
    fn check_values(&self, encoding: Encoding) -> Result<()> {
        match encoding {
            Encoding::PLAIN
            | Encoding::RLE
            | Encoding::DELTA_BINARY_PACKED
            | Encoding::BYTE_STREAM_SPLIT => Ok(()),
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY if self.dictionary => Ok(()),
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => {
                Err(damage("a page refers to a dictionary that is not there".into()))
            }
            other => Err(unread(other)),
        }
    }
}

/// How many strings lie whole in `bytes`, each behind its length; `most` at the most.
fn strings(mut bytes: &[u8], most: u32) -> u32 {
    let mut count = 0;
    while count < most
        && let Some((length, rest)) = bytes.split_first_chunk()
        && let Some(rest) = rest.get(u32::from_le_bytes(*length) as usize..)
    {
        bytes = rest;
        count += 1;
    }
    count
}

fn check_levels(levels: u64, bytes: usize) -> Result<()> {
    match levels > bytes as u64 {
        true => Err(damage(format!("a page of {bytes} bytes claims {levels} bytes of levels"))),
        false => Ok(()),
    }
}

fn damage(what: String) -> ParquetError {
    ParquetError::General(what)
}

fn unread(encoding: Encoding) -> ParquetError {
    ParquetError::NYI(format!(
        "it is encoded as {encoding}, which is not read; write the file again as version 1 of the \
         format, whose encodings are PLAIN and RLE_DICTIONARY"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn check(codec: CompressionCodec) -> Check {
        Check { codec, nullable: true, kind: Type::BYTE_ARRAY, dictionary: false }
    }

    fn message(page: Page) -> String {
        check(CompressionCodec::UNCOMPRESSED).page(page).err().unwrap().to_string()
    }

    fn dictionary(bytes: &'static [u8], num_values: u32) -> Page {
        let encoding = Encoding::PLAIN;
        Page::DictionaryPage { buf: bytes.into(), num_values, encoding, is_sorted: false }
    }

    /// Three values in version 1 of the format.
    fn first(bytes: &[u8], encoding: Encoding) -> Page {
        Page::DataPage {
            buf: bytes.to_vec().into(),
            num_values: 3,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        }
    }

    fn second(bytes: &'static [u8], def_levels_byte_len: u32, is_compressed: bool) -> Page {
        Page::DataPageV2 {
            buf: bytes.into(),
            num_values: 1,
            encoding: Encoding::PLAIN,
            num_nulls: 0,
            num_rows: 1,
            def_levels_byte_len,
            rep_levels_byte_len: 0,
            is_compressed,
            statistics: None,
        }
    }

    #[test]
    fn a_dictionary_is_not_believed_beyond_its_bytes() {
        assert!(check(CompressionCodec::UNCOMPRESSED).page(dictionary(&[0; 8], 2)).is_ok());
        let error = message(dictionary(&[0; 8], u32::MAX));
        let expected = "a dictionary of 8 bytes claims 4294967295 values, at most 2 are read";
        assert!(error.ends_with(expected), "{error}");
        let error = message(dictionary(b"\x01\0\0\0a\x02\0\0\0b", 2));
        assert!(error.ends_with("of 10 bytes claims 2 values, at most 1 are read"), "{error}");
        let mut numbers = check(CompressionCodec::UNCOMPRESSED);
        numbers.kind = Type::INT64;
        assert!(numbers.page(dictionary(&[0; 16], 5)).is_err());
    }

    #[test]
    fn a_dictionary_of_many_empty_strings_is_not_built() {
        // Each takes 4 bytes of the page and 32 of memory.
        let zeros = compress_to_vec(&[0; 8 << 20][..], CompressionLevel::Fastest);
        let page = Page::DictionaryPage {
            buf: zeros.into(),
            num_values: 2 << 20,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let error = check(CompressionCodec::ZSTD).page(page).err().unwrap().to_string();
        assert!(error.contains("claims 2097152 values, at most "), "{error}");
    }

    #[test]
    fn a_page_has_no_more_values_than_there_are() {
        let nulls = |mut check: Check, page| match check.page(page).unwrap() {
            Page::DataPageV2 { num_nulls, .. } => num_nulls,
            other => panic!("{:?}", other.page_type()),
        };
        let uncompressed = || check(CompressionCodec::UNCOMPRESSED);
        let levels = b"\x02\0\0\0\x06\x01";
        // Two whole strings, and one whose length is cut, whose end is cut, or who is not there.
        for third in [&b"\x01\0"[..], b"\x02\0\0\0c", b"\xff\xff\xff\xff", b""] {
            let bytes = [&levels[..], b"\x01\0\0\0a\0\0\0\0", third].concat();
            assert_eq!(nulls(uncompressed(), first(&bytes, Encoding::PLAIN)), 1, "{third:?}");
        }
        let split = || first(&[&levels[..], &[0; 8]].concat(), Encoding::BYTE_STREAM_SPLIT);
        let kind = |kind| Check { kind, ..uncompressed() };
        assert_eq!(nulls(kind(Type::FLOAT), split()), 1);
        assert_eq!(nulls(kind(Type::DOUBLE), split()), 2);
        let error = message(first(b"\x02\0\0\0\x06", Encoding::PLAIN));
        assert!(error.ends_with("a page of 1 bytes claims 2 bytes of levels"), "{error}");
        let error = message(first(b"\x02\0\0", Encoding::PLAIN));
        assert!(error.ends_with("a page of 3 bytes has no levels"), "{error}");
    }

    #[test]
    fn levels_lie_within_their_page_and_are_not_compressed() {
        let error = message(second(&[0; 3], 4, false));
        assert!(error.ends_with("a page of 3 bytes claims 4 bytes of levels"), "{error}");
        // Behind two bytes of levels, `abc` in Snappy.
        let page = second(b"\x02\x01\x03\x08abc", 2, true);
        let page = check(CompressionCodec::SNAPPY).page(page).unwrap();
        assert_eq!(page.buffer().as_ref(), b"\x02\x01abc");
        let nulls = check(CompressionCodec::SNAPPY).page(second(b"\x02\0", 2, true)).unwrap();
        assert_eq!(nulls.buffer().as_ref(), b"\x02\0");
    }

    #[test]
    fn a_page_of_a_dictionary_comes_behind_it() {
        let page = || first(b"\0\0\0\0", Encoding::RLE_DICTIONARY);
        assert!(message(page()).ends_with("refers to a dictionary that is not there"));
        let mut check = check(CompressionCodec::UNCOMPRESSED);
        check.page(dictionary(&[0; 8], 2)).unwrap();
        assert!(check.page(page()).is_ok());
    }
}
