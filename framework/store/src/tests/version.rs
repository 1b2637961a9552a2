//! What an earlier release wrote is read.

use std::fs;
use std::path::Path;

use super::samples::{all, open, samples};

const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/store-v1");

#[test]
fn version_1_is_read_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["index", "samples"] {
        fs::copy(Path::new(VERSION_1).join(name), folder.path().join(name)).unwrap();
    }
    let mut store = open(folder.path());
    assert_eq!((store.recovered(), all(&store)), (None, samples(0..3)));
    store.append(&samples(3..4)).unwrap();
    store.sync().unwrap();
    assert_eq!(all(&open(folder.path())), samples(0..4));
}
