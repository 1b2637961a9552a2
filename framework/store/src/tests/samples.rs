//! Samples and stores for tests.

use std::path::Path;

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::Supervision;
use mobillm_core::sample::{EncodedSample, SampleId};
use proptest::prelude::*;

use crate::{Fsync, Identity, Store, StoreConfig};

pub const MEMORY: StoreConfig = StoreConfig::Memory { limit_mib: 1 };
pub const DISK: StoreConfig = disk(Fsync::Group);

pub const fn disk(fsync: Fsync) -> StoreConfig {
    StoreConfig::Disk { limit_mib: 1, fsync }
}

pub fn identity() -> Identity {
    Identity {
        run: "run".into(),
        bundle: Fingerprint([1; 32]),
        pipeline: Fingerprint([2; 32]),
        quantizer: "int8".into(),
        taps: vec![3, 6],
        hidden: 4,
    }
}

pub fn open(folder: &Path) -> Store {
    Store::open(&DISK, folder, &identity()).unwrap()
}

/// A sample that no other number gives, of 48 to 72 bytes.
pub fn sample(number: u64) -> EncodedSample {
    let rows = 1 + number as usize % 3;
    let tap = |tap: u64| -> Vec<u8> {
        (0..4 * rows as u64).map(|at| (number * 31 + tap * 7 + at) as u8).collect()
    };
    EncodedSample {
        id: SampleId(number),
        positions: (0..rows as u32).collect(),
        taps: vec![tap(0).into(), tap(1).into()],
        supervision: Supervision::Difference(vec![number as f32, -0.5]),
    }
}

pub fn samples(numbers: std::ops::Range<u64>) -> Vec<EncodedSample> {
    numbers.map(sample).collect()
}

/// Everything in `store`, in order.
pub fn all(store: &Store) -> Vec<EncodedSample> {
    store.read(&Vec::from_iter(0..store.len())).unwrap()
}

/// Any sample, empty ones too.
pub fn encoded_sample() -> impl Strategy<Value = EncodedSample> {
    let tap = prop::collection::vec(any::<u8>(), 0..20);
    let own = || prop::collection::vec(-9.0_f32..9.0, 1..4);
    let supervision = prop_oneof![
        any::<u32>().prop_map(Supervision::Label),
        (-9.0_f32..9.0).prop_map(Supervision::Value),
        own().prop_map(Supervision::Difference),
        (any::<u32>(), own()).prop_map(|(label, own)| Supervision::LabelAndOwn(label, own)),
    ];
    let positions = prop::collection::vec(any::<u32>(), 0..4);
    (any::<u64>(), positions, prop::collection::vec(tap, 0..4), supervision).prop_map(
        |(id, positions, taps, supervision)| EncodedSample {
            id: SampleId(id),
            positions,
            taps: taps.into_iter().map(Into::into).collect(),
            supervision,
        },
    )
}
