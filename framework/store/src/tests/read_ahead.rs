//! Reading ahead gives what reading gives, and no more of it at a time than it may.

use mobillm_core::sample::EncodedSample;
use proptest::prelude::*;

use super::samples::{DISK, MEMORY, identity, samples};
use crate::{READ_AHEAD_BYTES, Store, StoreConfig, StoreError};

const HELD: u64 = 300;

fn drained(store: &Store, order: Vec<u64>, samples: usize) -> Vec<EncodedSample> {
    let mut prefetch = store.prefetch(order);
    let mut read = Vec::new();
    loop {
        let next = prefetch.next(samples).unwrap();
        let ended = next.len() < samples;
        read.extend(next);
        if ended {
            assert!(prefetch.next(samples).unwrap().is_empty());
            return read;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_order_is_kept(order in prop::collection::vec(0..HELD, 0..500), at_a_time in 1_usize..90) {
        for config in [MEMORY, DISK] {
            let folder = tempfile::tempdir().unwrap();
            let mut store = Store::open(&config, folder.path(), &identity()).unwrap();
            store.append(&samples(0..HELD)).unwrap();
            let read = drained(&store, order.clone(), at_a_time);
            prop_assert_eq!(read, store.read(&order).unwrap());
        }
    }
}

#[test]
fn what_comes_later_changes_nothing() {
    for config in [MEMORY, DISK] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&config, folder.path(), &identity()).unwrap();
        store.append(&samples(0..4)).unwrap();
        let mut prefetch = store.prefetch(vec![3, 0, 4]);
        store.append(&samples(4..6)).unwrap();
        assert_eq!(prefetch.next(0).unwrap(), []);
        let error = prefetch.next(3).unwrap_err();
        assert!(matches!(error, StoreError::Absent { ordinal: 4, samples: 4 }), "{error}");
        assert_eq!(drained(&store, vec![5], 2), samples(5..6));
    }
}

#[test]
fn samples_larger_than_the_memory_come_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::Memory { limit_mib: 100 };
    let mut store = Store::open(&config, folder.path(), &identity()).unwrap();
    let mut large = samples(0..2);
    for (sample, byte) in large.iter_mut().zip([1, 2]) {
        sample.taps = vec![vec![byte; READ_AHEAD_BYTES + 1].into()];
    }
    store.append(&large).unwrap();
    let read = drained(&store, vec![1, 0, 1], 1);
    assert_eq!(read.iter().map(|sample| sample.taps[0][0]).collect::<Vec<_>>(), [2, 1, 2]);
}
