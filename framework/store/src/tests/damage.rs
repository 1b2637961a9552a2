//! A changed byte is never another sample, and never silent.

use std::fs;

use super::samples::{DISK, all, identity, open, samples};
use crate::{Identity, Store, StoreError};

const HELD: u64 = 4;

#[test]
fn a_flipped_record_is_reported_by_its_ordinal() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.append(&samples(0..HELD)).unwrap();
    store.sync().unwrap();
    let path = folder.path().join("samples");
    let whole = fs::read(&path).unwrap();
    let mut reported = Vec::new();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, flipped).unwrap();
        let store = open(folder.path());
        assert_eq!((store.len(), store.recovered()), (HELD, None));
        let error = store.read(&Vec::from_iter(0..HELD)).unwrap_err();
        let StoreError::Damaged { ordinal, .. } = error else { panic!("{error}") };
        reported.push(ordinal);
        let others: Vec<u64> = (0..HELD).filter(|&other| other != ordinal).collect();
        assert_eq!(store.read(&others).unwrap().len(), others.len());
        let mut ahead = store.prefetch(vec![ordinal]);
        assert!(matches!(ahead.next(1), Err(StoreError::Damaged { .. })));
    }
    assert!(reported.is_sorted());
    reported.dedup();
    assert_eq!(reported, Vec::from_iter(0..HELD));
}

#[test]
fn what_is_damaged_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.append(&samples(0..HELD)).unwrap();
    store.sync().unwrap();
    let path = folder.path().join("samples");
    let mut flipped = fs::read(&path).unwrap();
    flipped[100] ^= 1;
    fs::write(&path, flipped).unwrap();
    let error = store.read(&[0, 1, 2]).unwrap_err();
    let text = error.to_string();
    for part in ["samples: sample 1 at byte 48 is damaged", "checksum", "it and all after it are"] {
        assert!(text.contains(part), "{text}");
    }
    store.truncate(1).unwrap();
    store.append(&samples(1..HELD)).unwrap();
    store.sync().unwrap();
    assert_eq!(all(&open(folder.path())), samples(0..HELD));
}

/// Address 0 of a process is not mapped: reading it is refused as a bad sector of a disk is.
#[cfg(target_os = "linux")]
#[test]
fn what_the_system_cannot_read_is_asked_for_again() {
    use crate::Fsync;
    use crate::disk::Disk;
    use crate::record::Records;

    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path(), Fsync::Group, &identity()).unwrap();
    let mut records = Records::default();
    records.encode(&samples(0..1)).unwrap();
    disk.append(&records).unwrap();
    disk.file = std::sync::Arc::new(fs::File::open("/proc/self/mem").unwrap());
    let error = disk.view().read(&[0]).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { ordinal: 0, .. }), "{error}");
    let text = error.to_string();
    for part in ["samples: sample 0", "cannot read it: Input/output error", "start the device"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_flipped_index_is_refused_or_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.append(&samples(0..HELD)).unwrap();
    store.sync().unwrap();
    let [index, records] = ["index", "samples"].map(|name| folder.path().join(name));
    let (whole, held) = (fs::read(&index).unwrap(), fs::read(&records).unwrap());
    let header = whole.len() - HELD as usize * 12;
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&index, flipped).unwrap();
        fs::write(&records, &held).unwrap();
        let holds = Store::holds_samples(folder.path());
        match Store::open(&DISK, folder.path(), &identity()) {
            Err(error) => {
                assert!(at < header && error.to_string().contains("remove the folder"));
                assert_eq!(holds.unwrap_err().to_string(), error.to_string());
            }
            Ok(store) => {
                assert_eq!(store.len(), (at - header) as u64 / 12);
                assert_eq!(holds.unwrap(), !store.is_empty());
                let recovered = store.recovered().unwrap();
                let fate = "may have been acknowledged: the device sends them again";
                assert!(recovered.ends_with(fate), "{recovered}");
                assert_eq!(all(&store), samples(0..store.len()));
            }
        }
    }
}

#[test]
fn samples_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.append(&samples(0..HELD)).unwrap();
    store.sync().unwrap();
    let other = Identity { quantizer: "nf4/64".into(), ..identity() };
    let error = Store::open(&DISK, folder.path(), &other).unwrap_err().to_string();
    let expected = "index: the store was written with quantizer int8, this run has nf4/64; go on";
    assert!(error.contains(expected), "{error}");
    assert_eq!(all(&open(folder.path())), samples(0..HELD), "it was not touched");

    fs::remove_file(folder.path().join("index")).unwrap();
    let error = Store::open(&DISK, folder.path(), &identity()).unwrap_err().to_string();
    assert!(error.starts_with("cannot open"), "{error}");
    assert_eq!(Store::holds_samples(folder.path()).unwrap_err().to_string(), error);
    for (bytes, expected) in [
        (&b""[..], "it has 0 bytes"),
        (b"mobistor\x01\0\0\0\xff\xff\xff\xff", "its header is damaged"),
        (b"mobistor\x02\0\0\0\0\0\0\0", "format version 2; this release reads 1"),
        (b"a text of more than 16 bytes", "it is not the index of a store"),
    ] {
        fs::write(folder.path().join("index"), bytes).unwrap();
        let error = Store::open(&DISK, folder.path(), &identity()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
