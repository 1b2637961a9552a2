//! A short run of what `fuzz/` does for long: a sound file with a few bytes changed. Whatever comes out,
//! it is an error or tensors that lie within the file; nothing panics.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use mobillm_gguf::fixture::{every_type, read_all};
use mobillm_gguf::{Gguf, TensorType};
use proptest::prelude::*;

/// Where the weights start, of which no byte is wrong.
fn header(file: &[u8]) -> usize {
    Gguf::parse(file).unwrap().tensors()[0].range().start
}

#[test]
fn the_sound_file_has_all_types() {
    let file = every_type().build();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.tensors().len(), TensorType::ALL.len());
    read_all(&file).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        cut in prop::bool::weighted(0.2),
    ) {
        let mut file = every_type().build();
        let header = header(&file);
        for (at, byte) in changes {
            file[at.index(header)] = byte;
        }
        if cut {
            file.truncate(end.index(file.len()));
        }
        let _ = read_all(&file);
    }

    #[test]
    fn numbers_at_their_limits_never_panic(
        at in any::<prop::sample::Index>(),
        number in prop::sample::select(&[0, 1, 31, 32, 255, 1 << 31, u64::MAX - 31, u64::MAX][..]),
    ) {
        let mut file = every_type().build();
        let at = at.index(header(&file) - 8);
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = read_all(&file);
    }
}
