//! After a crash at any moment a prefix is there, and all that was durable.
//!
//! What a crash may leave of what was written since the last sync: any part of it, anything in the
//! place of the rest. Both files are tried at every byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::samples::{all, open, samples};
use crate::Store;
use crate::record::ENTRY_BYTES;

/// The samples that are durable, and those that were written after them.
const DURABLE: u64 = 5;
const WRITTEN: u64 = 9;

/// What is on the disk while the second group is being synced: all records, and all entries.
fn crashed(folder: &Path) -> [PathBuf; 2] {
    let mut store = open(folder);
    store.append(&samples(0..2)).unwrap();
    store.append(&samples(2..DURABLE)).unwrap();
    assert_eq!(store.sync().unwrap(), DURABLE);
    store.append(&samples(DURABLE..WRITTEN)).unwrap();
    assert_eq!(store.sync().unwrap(), WRITTEN);
    ["samples", "index"].map(|name| folder.join(name))
}

/// Where in the files what was durable ends.
fn durable_ends(folder: &Path) -> [usize; 2] {
    let mut store = open(&folder.join("alone"));
    store.append(&samples(0..DURABLE)).unwrap();
    store.sync().unwrap();
    ["samples", "index"].map(|name| fs::read(folder.join("alone").join(name)).unwrap().len())
}

/// What is said of samples that a crash has cut off.
const PENDING: &str = "a crash leaves this of samples that were not yet acknowledged";
const UNKNOWN: &str = "may have been acknowledged: the device sends them again";

/// Opens what a crash has left, and goes on with it.
fn check(folder: &Path, repaired: Option<&str>) {
    let holds = Store::holds_samples(folder).unwrap();
    let mut store = open(folder);
    let held = store.len();
    assert!((DURABLE..=WRITTEN).contains(&held), "{held}");
    assert_eq!(store.durable(), held);
    assert_eq!(all(&store), samples(0..held));
    assert_eq!(holds, held > 0);
    match (store.recovered(), repaired) {
        (Some(recovered), Some(fate)) => assert!(recovered.ends_with(fate), "{recovered}"),
        (recovered, repaired) => assert_eq!(recovered, repaired),
    }

    store.append(&samples(held..WRITTEN + 1)).unwrap();
    store.sync().unwrap();
    let store = open(folder);
    assert_eq!(store.recovered(), None);
    assert_eq!(all(&store), samples(0..WRITTEN + 1));
}

/// Ways in which the bytes from `at` on may have never been written.
fn lost(whole: &[u8], at: usize) -> [Vec<u8>; 3] {
    let fill = |byte: fn(usize) -> u8| {
        let rest = (at..whole.len()).map(byte);
        whole[..at].iter().copied().chain(rest).collect()
    };
    [whole[..at].to_vec(), fill(|_| 0), fill(|at| (at * 89 + 41) as u8)]
}

#[test]
fn an_index_may_end_anywhere_after_what_was_durable() {
    let folder = tempfile::tempdir().unwrap();
    let [samples, index] = crashed(folder.path());
    let [_, end] = durable_ends(folder.path());
    let (records, whole) = (fs::read(&samples).unwrap(), fs::read(&index).unwrap());
    for at in end..whole.len() {
        for left in lost(&whole, at) {
            // An entry of full length cannot be told from one that was synced and flipped later.
            let fate = if left.len() == whole.len() { UNKNOWN } else { PENDING };
            fs::write(&samples, &records).unwrap();
            fs::write(&index, left).unwrap();
            check(folder.path(), Some(fate));
        }
    }
}

#[test]
fn records_may_end_anywhere_while_they_are_not_in_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let [samples, index] = crashed(folder.path());
    let [start, end] = durable_ends(folder.path());
    let (records, whole) = (fs::read(&samples).unwrap(), fs::read(&index).unwrap());
    for at in start..records.len() {
        for left in lost(&records, at) {
            let repaired = (left.len() > start).then_some(PENDING);
            fs::write(&samples, left).unwrap();
            fs::write(&index, &whole[..end]).unwrap();
            check(folder.path(), repaired);
        }
    }
}

/// This no crash does, unless `fsync` is `never`; but a copy that was not finished does.
#[test]
fn records_that_are_cut_are_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let [records, index] = crashed(folder.path());
    let (whole, entries) = (fs::read(&records).unwrap(), fs::read(&index).unwrap());
    for at in 0..whole.len() {
        fs::write(&records, &whole[..at]).unwrap();
        fs::write(&index, &entries).unwrap();
        let store = open(folder.path());
        assert!(store.len() < WRITTEN && store.recovered().unwrap().ends_with(UNKNOWN));
        assert_eq!(all(&store), samples(0..store.len()));
        assert!(store.bytes() <= at as u64 + WRITTEN * ENTRY_BYTES as u64);
    }
}

#[test]
fn a_store_that_was_being_made_is_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.new"), "mobis").unwrap();
    File::create(folder.path().join("samples")).unwrap();
    let store = open(folder.path());
    assert_eq!((store.len(), store.recovered()), (0, None));
    assert!(!folder.path().join("index.new").exists());
}
