//! The samples of a store as they were at one moment, for any number of threads.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c;
use mobillm_core::sample::EncodedSample;

use crate::error::StoreError;
use crate::index::Entry;
use crate::{position, record};

/// Cheap to clone. What is appended later is not in it.
#[derive(Debug, Clone)]
pub enum View {
    Memory { records: Arc<Vec<Bytes>> },
    Disk { entries: Arc<Vec<Entry>>, file: Arc<File>, path: Arc<Path> },
}

impl View {
    /// Bytes of a record; nothing where there is none.
    pub fn length(&self, ordinal: u64) -> usize {
        let at = ordinal as usize;
        match self {
            Self::Memory { records } => records.get(at).map_or(0, Bytes::len),
            Self::Disk { entries, .. } => entries.get(at).map_or(0, |entry| entry.length as usize),
        }
    }

    /// The samples `ordinals`, in that order.
    pub fn read(&self, ordinals: &[u64]) -> Result<Vec<EncodedSample>, StoreError> {
        self.announce(ordinals);
        ordinals.iter().map(|&ordinal| self.read_one(ordinal)).collect()
    }

    fn read_one(&self, ordinal: u64) -> Result<EncodedSample, StoreError> {
        let at = ordinal as usize;
        match self {
            Self::Memory { records } => {
                let record = records.get(at).ok_or(absent(ordinal, records.len()))?;
                record::read(record).ok_or(StoreError::Damaged {
                    path: "memory".into(),
                    ordinal,
                    offset: 0,
                    problem: "it is no record".into(),
                })
            }
            Self::Disk { entries, file, path } => {
                let entry = entries.get(at).ok_or(absent(ordinal, entries.len()))?;
                let damaged = |problem: &str| StoreError::Damaged {
                    path: path.to_path_buf(),
                    ordinal,
                    offset: entry.offset,
                    problem: problem.into(),
                };
                let mut bytes = vec![0; entry.length as usize];
                // What the disk does not give back the device can send again, as what was changed.
                position::read_exact(file, &mut bytes, entry.offset).map_err(
                    |error| match error.kind() {
                        ErrorKind::UnexpectedEof => damaged("the file ends within it"),
                        _ => damaged(&format!("the system cannot read it: {error}")),
                    },
                )?;
                if crc32c(&bytes) != entry.checksum {
                    return Err(damaged("its checksum is not the one in the index"));
                }
                record::read(&bytes.into()).ok_or_else(|| damaged("it is no record"))
            }
        }
    }

    /// Tells the system what is read next, in the order in which it lies on the disk: it reads all
    /// of that at the same time, which takes a fraction of the time of one after the other.
    #[cfg(target_os = "linux")]
    fn announce(&self, ordinals: &[u64]) {
        use rustix::fs::{Advice, fadvise};
        let Self::Disk { entries, file, .. } = self else { return };
        let mut wanted: Vec<_> =
            ordinals.iter().filter_map(|&ordinal| entries.get(ordinal as usize)).collect();
        wanted.sort_unstable_by_key(|entry| entry.offset);
        for entry in wanted {
            // Advice that the file system does not take changes nothing but the speed.
            let length = std::num::NonZeroU64::new(entry.length.into());
            let _ = fadvise(file, entry.offset, length, Advice::WillNeed);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn announce(&self, _: &[u64]) {}
}

fn absent(ordinal: u64, samples: usize) -> StoreError {
    StoreError::Absent { ordinal, samples: samples as u64 }
}
