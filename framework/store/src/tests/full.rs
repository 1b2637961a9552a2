//! No room: refused, and nothing is lost.

use std::slice;

use mobillm_core::privacy::Supervision;
use mobillm_core::sample::EncodedSample;

use super::samples::{DISK, MEMORY, all, identity, sample, samples};
use crate::{Store, StoreError, record_bytes};

#[test]
fn the_limit_is_kept_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let one = EncodedSample {
        positions: vec![0; 7],
        taps: vec![vec![1; 7 * 9337].into(); 2],
        supervision: Supervision::Label(0),
        ..sample(0)
    };
    let bytes = record_bytes(7, 9337, 2, 1);
    assert_eq!((1 << 20) / bytes, 8);
    for config in [MEMORY, DISK] {
        let mut store = Store::open(&config, folder.path(), &identity()).unwrap();
        store.append(&vec![one.clone(); 7]).unwrap();
        let error = store.append(&vec![one.clone(); 2]).unwrap_err().to_string();
        let expected =
            format!("it holds {} bytes in 7 samples, {} bytes are", 7 * bytes, 2 * bytes);
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("`server.store.limit_mib`"), "{error}");
        assert_eq!((store.len(), store.bytes()), (7, 7 * bytes));
        store.append(slice::from_ref(&one)).unwrap();
        assert_eq!((store.len(), store.bytes()), (8, 8 * bytes));
        assert!(matches!(store.append(slice::from_ref(&one)), Err(StoreError::Full { .. })));
        store.truncate(1).unwrap();
        store.append(&vec![one.clone(); 7]).unwrap();
        assert_eq!(all(&store), vec![one.clone(); 8]);
    }
}

/// The device `/dev/full` takes no byte, as a full disk does.
#[cfg(target_os = "linux")]
mod disk {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::Fsync;
    use crate::disk::Disk;
    use crate::record::Records;

    fn full() -> File {
        File::options().read(true).write(true).open("/dev/full").unwrap()
    }

    fn records(samples: &[EncodedSample]) -> Records {
        let mut records = Records::default();
        records.encode(samples).unwrap();
        records
    }

    fn opened(folder: &Path, fsync: Fsync) -> Disk {
        let mut disk = Disk::open(folder, fsync, &identity()).unwrap();
        disk.append(&records(&samples(0..3))).unwrap();
        disk.sync().unwrap();
        disk
    }

    #[test]
    fn a_full_disk_leaves_the_store_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for fsync in [Fsync::Group, Fsync::EachAppend, Fsync::Never] {
            let folder = folder.path().join(format!("{fsync:?}"));
            let mut disk = opened(&folder, fsync);
            let file = std::mem::replace(&mut disk.file, Arc::new(full()));
            let error = disk.append(&records(&samples(3..5))).unwrap_err();
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("samples: No space left") && text.contains("room"), "{text}");
            assert_eq!((disk.len(), disk.durable()), (3, 3));

            disk.file = file;
            disk.append(&records(&samples(3..5))).unwrap();
            disk.sync().unwrap();
            assert_eq!(disk.view().read(&[0, 1, 2, 3, 4]).unwrap(), samples(0..5));
            drop(disk);
            assert_eq!(opened(&folder, fsync).view().read(&[3]).unwrap(), samples(3..4));
        }
    }

    #[test]
    fn what_could_not_be_synced_is_dropped_until_it_is_known_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        for fsync in [Fsync::Group, Fsync::EachAppend, Fsync::Never] {
            let folder = folder.path().join(format!("{fsync:?}"));
            let mut disk = opened(&folder, fsync);
            let index = std::mem::replace(&mut disk.index.file, full());
            let appended = disk.append(&records(&samples(3..5)));
            let error = appended.and_then(|()| disk.sync()).unwrap_err();
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
            assert_eq!((disk.len(), disk.durable()), (3, 3));
            // A device cannot be cut as a file can, so what the index holds is in doubt.
            let error = disk.append(&records(&samples(3..5))).unwrap_err();
            assert!(matches!(error, StoreError::Broken { .. }), "{error}");
            assert!(disk.sync().is_err() && disk.truncate(1).is_err());
            assert_eq!(disk.view().read(&[0, 1, 2]).unwrap(), samples(0..3));

            drop((disk, index));
            let disk = Disk::open(&folder, fsync, &identity()).unwrap();
            assert_eq!(disk.view().read(&[0, 1, 2]).unwrap(), samples(0..3));
            assert_eq!(disk.len(), 3);
        }
    }
}
