//! The pages of a column chunk, their claims checked before the decoder believes them.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{CompressionCodec, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::SerializedPageReader;

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
    dictionary: bool,
}

impl Check {
    fn new(chunk: &ColumnChunkMetaData) -> Self {
        let nullable = chunk.column_descr().max_def_level() > 0;
        Self { codec: chunk.compression_codec(), nullable, dictionary: false }
    }

    /// The page, decompressed. The decoder may rely on the sizes and encodings in it.
    fn page(&mut self, mut page: Page) -> Result<Page> {
        match &mut page {
            Page::DictionaryPage { buf, num_values, .. } => {
                *buf = self.decompress(buf)?;
                // No value that has a dictionary is shorter than 4 bytes; a string has its length.
                if *num_values as usize > buf.len() / 4 {
                    let message =
                        format!("a dictionary of {} bytes claims {num_values} values", buf.len());
                    return Err(ParquetError::General(message));
                }
                self.dictionary = true;
            }
            Page::DataPage { buf, encoding, def_level_encoding, .. } => {
                self.check_values(*encoding)?;
                if self.nullable && *def_level_encoding != Encoding::RLE {
                    return Err(unread(*def_level_encoding));
                }
                *buf = self.decompress(buf)?;
            }
            Page::DataPageV2 {
                buf,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } => {
                self.check_values(*encoding)?;
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                if levels > buf.len() as u64 {
                    let message =
                        format!("a page of {} bytes claims {levels} bytes of levels", buf.len());
                    return Err(ParquetError::General(message));
                }
                // The levels are not compressed, and a page of nulls has nothing behind them.
                let values = buf.split_off(levels as usize);
                if *is_compressed && !values.is_empty() {
                    *buf = [buf.as_ref(), &self.decompress(&values)?].concat().into();
                } else {
                    *buf = [buf.as_ref(), &values].concat().into();
                }
            }
        }
        Ok(page)
    }

    fn decompress(&self, page: &Bytes) -> Result<Bytes> {
        match self.codec {
            CompressionCodec::UNCOMPRESSED => Ok(page.clone()),
            // Some writers leave a page without values empty.
            _ if page.is_empty() => Ok(Bytes::new()),
            codec => codec::decompress(codec, page).map(Bytes::from).map_err(ParquetError::General),
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
                Err(ParquetError::General("a page refers to a dictionary that is not there".into()))
            }
            other => Err(unread(other)),
        }
    }
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

    fn check(codec: CompressionCodec) -> Check {
        Check { codec, nullable: true, dictionary: false }
    }

    fn message(page: Page) -> String {
        check(CompressionCodec::UNCOMPRESSED).page(page).err().unwrap().to_string()
    }

    fn dictionary(bytes: &'static [u8], num_values: u32) -> Page {
        let encoding = Encoding::PLAIN;
        Page::DictionaryPage { buf: bytes.into(), num_values, encoding, is_sorted: false }
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
        assert!(error.ends_with("a dictionary of 8 bytes claims 4294967295 values"), "{error}");
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
        let page = || Page::DataPage {
            buf: Bytes::new(),
            num_values: 1,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        assert!(message(page()).ends_with("refers to a dictionary that is not there"));
        let mut check = check(CompressionCodec::UNCOMPRESSED);
        check.page(dictionary(&[0; 8], 2)).unwrap();
        assert!(check.page(page()).is_ok());
    }
}
