//! A short run of what `fuzz/` does for long: a sound file with a few bytes changed. Whatever comes out,
//! it is an error or tensors that lie within the file; nothing panics.

use std::fs;

use mobillm_weights::fixture::{FILE, every_format, read_all};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

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
    assert_eq!(read_all(folder.path(), &sound).unwrap(), 5 + 1 + 1 + 1 + 2 * 2);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut read = 0;
    for _ in 0..3_000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random.next_u32() % 3 {
            if bytes.len() > 8 {
                mutate(&mut bytes, &mut random);
            }
        }
        read += usize::from(read_all(folder.path(), &bytes).is_ok());
    }
    // Some changes are harmless, or nothing behind the header was tried.
    assert!((100..2_900).contains(&read), "{read} of 3000 were read");
}

/// A field of a header, or the data behind it.
#[derive(Debug, Clone, Copy)]
enum Field {
    Size(usize, u64),
    Start(u64),
    End(u64),
    Dtype(&'static str),
    Data(usize),
}

fn fields() -> impl Strategy<Value = Field> {
    let place = || prop_oneof![3 => 0u64..70, 1 => any::<u64>()];
    prop_oneof![
        (any::<usize>(), place()).prop_map(|(at, size)| Field::Size(at, size)),
        place().prop_map(Field::Start),
        place().prop_map(Field::End),
        prop::sample::select(DTYPES.map(|(name, _)| name).to_vec()).prop_map(Field::Dtype),
        (0usize..70).prop_map(Field::Data),
    ]
}

/// Element types and their bits.
const DTYPES: [(&str, u64); 7] =
    [("F32", 32), ("F16", 16), ("U8", 8), ("I8", 8), ("BF16", 16), ("F4", 4), ("I64", 64)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A sound header, of which one field is changed or none.
    #[test]
    fn a_file_is_read_if_its_header_is_true(
        mut shape in prop::collection::vec(1u64..5, 1..4),
        (mut dtype, _) in prop::sample::select(&DTYPES[..]),
        change in prop::option::of(fields()),
    ) {
        let bits = |dtype: &str, shape: &[u64]| {
            let (_, bits) = DTYPES.into_iter().find(|(name, _)| *name == dtype)?;
            shape.iter().try_fold(bits, |bits, size| bits.checked_mul(*size))
        };
        // Half a byte more is none that the header could name.
        let (mut from, mut to) = (0, bits(dtype, &shape).unwrap() / 8);
        let mut data = to as usize;
        match change {
            None => {}
            Some(Field::Size(at, size)) => {
                let at = at % shape.len();
                shape[at] = size;
            }
            Some(Field::Start(place)) => from = place,
            Some(Field::End(place)) => to = place,
            Some(Field::Dtype(other)) => dtype = other,
            Some(Field::Data(size)) => data = size,
        }
        let header = format!(
            r#"{{"__metadata__":{{"x":"4"}},"x":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{from},{to}]}}}}"#
        );
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.resize(bytes.len() + data, 1);
        let is_true = from == 0 && to == data as u64 && bits(dtype, &shape) == Some(8 * to);
        let folder = tempfile::tempdir().unwrap();
        prop_assert_eq!(read_all(folder.path(), &bytes).is_ok(), is_true);
    }
}
