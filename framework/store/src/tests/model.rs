//! A store does what a vector does, wherever it keeps its samples.

use mobillm_core::sample::EncodedSample;
use proptest::prelude::*;

use super::samples::{DISK, MEMORY, all, disk, encoded_sample, identity};
use crate::record::ENTRY_BYTES;
use crate::{Fsync, Store, StoreConfig, StoreError};

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<EncodedSample>),
    Sync,
    Truncate(u64),
    Read(Vec<u64>),
    /// On disk only: memory forgets.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(encoded_sample(), 0..4).prop_map(Step::Append),
        2 => Just(Step::Sync),
        1 => (0_u64..12).prop_map(Step::Truncate),
        2 => prop::collection::vec(0_u64..12, 0..6).prop_map(Step::Read),
        1 => Just(Step::Reopen),
    ]
}

fn follow(config: &StoreConfig, steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(config, folder.path(), &identity()).unwrap();
    let mut store = open();
    let mut model: Vec<EncodedSample> = Vec::new();
    let mut durable = 0;
    let at_once = !matches!(config, StoreConfig::Disk { fsync: Fsync::Group, .. });
    for step in steps {
        match step {
            Step::Append(samples) => {
                store.append(&samples).unwrap();
                model.extend(samples);
            }
            Step::Sync => {
                durable = model.len();
                assert_eq!(store.sync().unwrap(), durable as u64);
            }
            Step::Truncate(len) => {
                store.truncate(len).unwrap();
                model.truncate(len as usize);
                durable = durable.min(model.len());
            }
            Step::Read(ordinals) => {
                let expected: Option<Vec<_>> =
                    ordinals.iter().map(|&at| model.get(at as usize).cloned()).collect();
                match (store.read(&ordinals), expected) {
                    (Ok(samples), Some(expected)) => assert_eq!(samples, expected),
                    (Err(StoreError::Absent { ordinal, samples }), None) => {
                        assert!(ordinals.contains(&ordinal) && ordinal >= samples);
                    }
                    (read, expected) => panic!("{read:?} instead of {expected:?}"),
                }
            }
            Step::Reopen if *config == MEMORY => {}
            Step::Reopen => {
                drop(store);
                store = open();
                model.truncate(durable);
            }
        }
        if at_once {
            durable = model.len();
        }
        assert_eq!((store.len(), store.durable()), (model.len() as u64, durable as u64));
        assert_eq!(all(&store), model);
    }
    let mut empty = Store::open(&MEMORY, folder.path(), &identity()).unwrap();
    empty.append(&model).unwrap();
    assert_eq!(store.bytes(), empty.bytes());
    assert!(store.bytes() >= model.len() as u64 * ENTRY_BYTES as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn in_memory(steps in prop::collection::vec(step(), 0..20)) {
        follow(&MEMORY, steps);
    }

    #[test]
    fn on_disk_in_groups(steps in prop::collection::vec(step(), 0..20)) {
        follow(&DISK, steps);
    }

    #[test]
    fn on_disk_each(steps in prop::collection::vec(step(), 0..12)) {
        follow(&disk(Fsync::EachAppend), steps);
    }

    #[test]
    fn on_disk_as_the_system_sees_fit(steps in prop::collection::vec(step(), 0..20)) {
        follow(&disk(Fsync::Never), steps);
    }
}

#[test]
fn none_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(&StoreConfig::None, folder.path(), &identity()).unwrap_err();
    assert!(matches!(error, StoreError::NotKept));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
