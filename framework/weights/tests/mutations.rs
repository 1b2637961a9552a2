//! A short run of what `fuzz/` does for long: a sound file with a few bytes changed. Whatever comes out,
//! it is an error or tensors that lie within the file; nothing panics.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;

use mobillm_weights::fixture::{FILE, every_format, read_all};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Whether `bytes`, as a file in `folder`, are read and not refused.
fn is_read(folder: &Path, bytes: &[u8]) -> bool {
    // Over a file that is there, some file systems write through to disk.
    let _ = fs::remove_file(folder.join(FILE));
    fs::write(folder.join(FILE), bytes).unwrap();
    read_all(folder).is_ok()
}

/// Changes `bytes` somewhere, most often in the header.
fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    const TEXT: &[u8] = b"0123456789{}[]\",:-eFUIB\\ \xff\x00";
    let header = 8 + usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let mut below = |limit: usize| random.next_u64() as usize % limit.max(1);
    let at = if below(3) == 0 { below(bytes.len()) } else { below(header.min(bytes.len())) };
    match below(12) {
        0 => bytes.truncate(at),
        1..6 => bytes[at] ^= 1 << below(8),
        6 => drop(bytes.remove(at)),
        7 => bytes.insert(at, TEXT[below(TEXT.len())]),
        8..11 => bytes[at] = TEXT[below(TEXT.len())],
        _ => {
            let from = below(bytes.len());
            let piece = bytes[from..(from + below(40)).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

#[test]
fn damaged_files_are_read_whole_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    every_format(folder.path()).unwrap();
    let sound = fs::read(folder.path().join(FILE)).unwrap();
    // Five matrices, of which the f32 one is numbers too; the bias; scales of one row and two matrices.
    assert_eq!(read_all(folder.path()).unwrap(), 5 + 1 + 1 + 1 + 2 * 2);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut read = 0;
    for _ in 0..3_000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random.next_u32() % 3 {
            if bytes.len() > 8 {
                mutate(&mut bytes, &mut random);
            }
        }
        read += usize::from(is_read(folder.path(), &bytes));
    }
    // Some changes are harmless, or nothing behind the header was tried.
    assert!((100..2_900).contains(&read), "{read} of 3000 were read");
}

proptest! {
    #[test]
    fn any_places_are_read_whole_or_refused(
        shape in prop::collection::vec(prop_oneof![0u64..9, any::<u64>()], 0..4),
        (from, to) in (prop_oneof![0u64..70, any::<u64>()], prop_oneof![0u64..70, any::<u64>()]),
        dtype in prop::sample::select(vec!["F32", "F16", "U8", "I8", "BF16", "F4", "I64"]),
        data in 0usize..64,
    ) {
        let header = format!(
            r#"{{"__metadata__":{{"x":"4"}},"x":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{from},{to}]}}}}"#
        );
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.resize(bytes.len() + data, 1);
        let folder = tempfile::tempdir().unwrap();
        prop_assert!(!is_read(folder.path(), &bytes) || (from == 0 && to == data as u64));
    }
}
