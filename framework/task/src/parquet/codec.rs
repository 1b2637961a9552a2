//! Decompression of a page.
//!
//! The reader's own codecs allocate what a page's header claims, up to 2 GiB for a page of a few
//! bytes. These allocate what the compressed bytes can or do make, and no more than [`believed`]; a
//! window of Zstandard, which is reserved at once, is at most 128 MiB.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use parquet::basic::CompressionCodec;
use ruzstd::decoding::StreamingDecoder;

use super::limits::believed;

/// The most that a page of the format can hold, in bytes.
const PAGE: u64 = i32::MAX as u64;
/// The most bytes that one byte of Snappy can stand for: 64 of a copy that takes three, rounded up.
const SNAPPY_EXPANSION: usize = 22;

/// Whether pages in `codec` can be read; the error says which can.
pub(super) fn check(codec: CompressionCodec) -> Result<(), String> {
    use CompressionCodec as Codec;
    match codec {
        Codec::UNCOMPRESSED | Codec::SNAPPY | Codec::GZIP | Codec::ZSTD => Ok(()),
        other => Err(unknown(other)),
    }
}

/// The bytes of `page`, which is compressed with `codec`.
pub(super) fn decompress(codec: CompressionCodec, page: &[u8]) -> Result<Vec<u8>, String> {
    let most = believed(page.len() as u64).min(PAGE);
    match codec {
        CompressionCodec::SNAPPY => snappy(page),
        CompressionCodec::GZIP => {
            let mut bytes = Vec::new();
            append(&mut bytes, MultiGzDecoder::new(page), most)?;
            Ok(bytes)
        }
        CompressionCodec::ZSTD => zstandard(page, most),
        other => Err(unknown(other)),
    }
}

fn unknown(codec: CompressionCodec) -> String {
    format!(
        "it is compressed with {codec:?}; expected SNAPPY, GZIP, ZSTD or no compression: write the \
         file again with one of them"
    )
}

fn snappy(page: &[u8]) -> Result<Vec<u8>, String> {
    let claimed = snap::raw::decompress_len(page).map_err(|error| error.to_string())?;
    if claimed / SNAPPY_EXPANSION > page.len() {
        return Err(format!("{} bytes of Snappy claim to be {claimed}", page.len()));
    }
    snap::raw::Decoder::new().decompress_vec(page).map_err(|error| error.to_string())
}

/// The bytes of all frames of `page`, `most` at the most.
fn zstandard(mut page: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while !page.is_empty() {
        let frame = StreamingDecoder::new(&mut page).map_err(|error| error.to_string())?;
        append(&mut bytes, frame, most)?;
    }
    Ok(bytes)
}

/// Appends what is in `stream` to `bytes`, which then are `most` at the most.
fn append(bytes: &mut Vec<u8>, stream: impl Read, most: u64) -> Result<(), String> {
    let room = most - bytes.len() as u64;
    let read = |error: io::Error| error.to_string();
    let length = stream.take(room + 1).read_to_end(bytes).map_err(read)?;
    match length as u64 > room {
        true => Err(format!(
            "a page unfolds to more than {most} bytes, the most that is read from one of its \
             length; write the file again with smaller pages"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn compressed(codec: CompressionCodec, bytes: &[u8]) -> Vec<u8> {
        match codec {
            CompressionCodec::SNAPPY => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            CompressionCodec::ZSTD => compress_to_vec(bytes, CompressionLevel::Fastest),
            CompressionCodec::GZIP => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    const CODECS: [CompressionCodec; 3] =
        [CompressionCodec::SNAPPY, CompressionCodec::GZIP, CompressionCodec::ZSTD];

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            bytes in prop::collection::vec(0u8..4, 0..3000),
            codec in prop::sample::select(&CODECS[..]),
        ) {
            prop_assert_eq!(decompress(codec, &compressed(codec, &bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            flip in any::<(prop::sample::Index, u8)>(),
            codec in prop::sample::select(&CODECS[..]),
        ) {
            let _ = decompress(codec, &bytes);
            let mut page = compressed(codec, &bytes);
            let at = flip.0.index(page.len());
            page[at] ^= flip.1;
            let _ = decompress(codec, &page);
        }
    }

    #[test]
    fn the_longest_run_of_snappy_is_within_its_expansion() {
        let bytes = vec![7; 1 << 20];
        let page = compressed(CompressionCodec::SNAPPY, &bytes);
        assert!(bytes.len() / page.len() >= SNAPPY_EXPANSION - 2, "the bound is near");
        assert_eq!(decompress(CompressionCodec::SNAPPY, &page).unwrap(), bytes);
    }

    #[test]
    fn frames_share_the_bound_of_their_page() {
        let frames = compressed(CompressionCodec::ZSTD, &[1; 8]).repeat(2);
        assert_eq!(zstandard(&frames, 16).unwrap(), [1; 16]);
        assert!(zstandard(&frames, 15).unwrap_err().contains("more than 15 bytes"));
        assert!(zstandard(&frames, 8).is_err());

        let page = compressed(CompressionCodec::ZSTD, &[0; 1 << 20]).repeat(20);
        assert!(page.len() < 4000);
        let error = decompress(CompressionCodec::ZSTD, &page).unwrap_err();
        assert!(error.starts_with("a page unfolds to more than "), "{error}");
    }

    #[test]
    fn a_claim_beyond_the_bytes_is_refused() {
        let error = decompress(CompressionCodec::SNAPPY, &[0xff, 0xff, 0xff, 0x7f, 0]);
        assert_eq!(error.unwrap_err(), "5 bytes of Snappy claim to be 268435455");
    }

    #[test]
    fn a_codec_that_is_not_read_says_which_are() {
        let error = check(CompressionCodec::BROTLI).unwrap_err();
        assert!(
            error.starts_with("it is compressed with BROTLI; expected SNAPPY, GZIP"),
            "{error}"
        );
    }

    #[test]
    fn what_another_zstandard_wrote_is_read() {
        // `printf 'ham ham ham ham spam' | zstd -19`
        let frame = [
            0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68, 0x75, 0x00, 0x00, 0x40, 0x68, 0x61, 0x6d, 0x20,
            0x73, 0x70, 0x61, 0x6d, 0x01, 0x00, 0xb8, 0x4b, 0x04, 0xbf, 0x7c, 0x3d, 0x5c,
        ];
        let text = decompress(CompressionCodec::ZSTD, &frame).unwrap();
        assert_eq!(text, b"ham ham ham ham spam");
    }
}
