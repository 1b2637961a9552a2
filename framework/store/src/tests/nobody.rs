//! A store of no sample is nobody's, and says so to whoever asks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::samples::{DISK, all, disk, identity, open, samples};
use crate::{Fsync, Identity, Store, StoreError};

/// Does something with a folder after which nothing durable is in it.
type Leave = fn(&Path);

fn left_empty() -> [(&'static str, Leave); 8] {
    [
        ("there is no folder", |_| {}),
        ("the folder is empty", |folder| fs::create_dir(folder).unwrap()),
        ("it was being made", |folder| {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("index.new"), "mobis").unwrap();
            File::create(folder.join("samples")).unwrap();
        }),
        ("it was only opened", |folder| drop(open(folder))),
        ("nothing was synced", |folder| open(folder).append(&samples(0..3)).unwrap()),
        ("an entry was torn", |folder| {
            open(folder).append(&samples(0..3)).unwrap();
            let index = folder.join("index");
            let header = fs::read(&index).unwrap();
            fs::write(&index, [&header[..], &[1; 7]].concat()).unwrap();
        }),
        ("all was dropped", |folder| {
            let mut store = open(folder);
            store.append(&samples(0..3)).unwrap();
            store.sync().unwrap();
            store.truncate(0).unwrap();
        }),
        ("the records are gone", |folder| {
            let mut store = open(folder);
            store.append(&samples(0..3)).unwrap();
            store.sync().unwrap();
            fs::remove_file(folder.join("samples")).unwrap();
        }),
    ]
}

fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_store_without_a_sample_is_whoever_opens_its() {
    // As long as the first one's, shorter and longer: where entries begin is told by the header.
    for run in ["RUN", "", "another run of a much longer name"] {
        let other = Identity { run: run.into(), ..identity() };
        for (what, leave) in left_empty() {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("store");
            leave(&folder);
            let before = content(&folder);
            assert!(!Store::holds_samples(&folder).unwrap(), "{what}");
            assert_eq!(content(&folder), before, "{what}: asking changes nothing");

            let mut store = Store::open(&DISK, &folder, &other).unwrap();
            assert!(store.is_empty(), "{what}");
            store.append(&samples(4..9)).unwrap();
            assert!(!Store::holds_samples(&folder).unwrap(), "{what}: not before it is durable");
            store.sync().unwrap();
            drop(store);
            assert!(Store::holds_samples(&folder).unwrap(), "{what}");
            let store = Store::open(&DISK, &folder, &other).unwrap();
            assert_eq!((store.recovered(), all(&store)), (None, samples(4..9)), "{what}");
            let error = Store::open(&DISK, &folder, &identity()).unwrap_err();
            assert!(matches!(error, StoreError::Identity { .. }), "{what}: {error}");
        }
    }
}

#[test]
fn what_was_appended_at_once_is_somebodys() {
    for fsync in [Fsync::EachAppend, Fsync::Never] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&disk(fsync), folder.path(), &identity()).unwrap();
        store.append(&samples(0..1)).unwrap();
        assert!(Store::holds_samples(folder.path()).unwrap());
    }
}

#[test]
fn what_is_no_folder_holds_nothing_that_can_be_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::holds_samples(file.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot open"), "{error}");
}
