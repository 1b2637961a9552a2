//! The store, wherever it keeps its samples.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mobillm_core::sample::EncodedSample;

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::identity::Identity;
use crate::prefetch::Prefetch;
use crate::record::{ENTRY_BYTES, Records};
use crate::view::View;

/// The samples of one run, numbered from 0 in order of arrival: their *ordinals*.
///
/// It is one process's; whoever opens it has locked the folder. See the [crate] for what survives.
#[derive(Debug)]
pub struct Store {
    kept: Kept,
    limit: u64,
    records: Records,
}

#[derive(Debug)]
enum Kept {
    Memory { records: Arc<Vec<Bytes>>, bytes: u64 },
    Disk(Disk),
}

impl Store {
    /// Opens or makes the store that `config` asks for, on disk in `folder`, and repairs what a crash
    /// has left there. A store of no sample is nobody's: whoever opens it makes it theirs.
    ///
    /// # Errors
    /// If `config` asks for none, if samples in `folder` belong to another run, if it is of another
    /// version, or if it cannot be read or written.
    pub fn open(
        config: &StoreConfig,
        folder: &Path,
        identity: &Identity,
    ) -> Result<Self, StoreError> {
        let (kept, limit_mib) = match *config {
            StoreConfig::None => return Err(StoreError::NotKept),
            StoreConfig::Memory { limit_mib } => {
                (Kept::Memory { records: Arc::default(), bytes: 0 }, limit_mib)
            }
            StoreConfig::Disk { limit_mib, fsync } => {
                (Kept::Disk(Disk::open(folder, fsync, identity)?), limit_mib)
            }
        };
        let limit = limit_mib.saturating_mul(1 << 20);
        Ok(Self { kept, limit, records: Records::default() })
    }

    /// Whether the store on disk in `folder` holds a durable sample, whoever's it is: one that
    /// [`open`](Self::open) would show to them. Changes nothing; where there is no folder, there is none.
    ///
    /// # Errors
    /// If what is in `folder` is no store, of another version, or cannot be read.
    pub fn holds_samples(folder: &Path) -> Result<bool, StoreError> {
        Disk::holds_samples(folder)
    }

    /// What had to be repaired when it was opened, in words.
    pub fn recovered(&self) -> Option<&str> {
        match &self.kept {
            Kept::Memory { .. } => None,
            Kept::Disk(disk) => disk.recovered(),
        }
    }

    /// How many samples it holds.
    pub fn len(&self) -> u64 {
        match &self.kept {
            Kept::Memory { records, .. } => records.len() as u64,
            Kept::Disk(disk) => disk.len() as u64,
        }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first so many samples survive what the config's fsync policy promises: only these may be
    /// acknowledged.
    pub fn durable(&self) -> u64 {
        match &self.kept {
            Kept::Memory { records, .. } => records.len() as u64,
            Kept::Disk(disk) => disk.durable() as u64,
        }
    }

    /// Bytes that it holds, as [`record_bytes`](crate::record_bytes) counts them.
    pub fn bytes(&self) -> u64 {
        let records = match &self.kept {
            Kept::Memory { bytes, .. } => *bytes,
            Kept::Disk(disk) => disk.bytes(),
        };
        records + self.len() * ENTRY_BYTES as u64
    }

    /// Adds all of `samples`, or none of them.
    ///
    /// # Errors
    /// If the limit or the disk leaves no room: the store is then as it was. With
    /// [`Fsync::EachAppend`](crate::Fsync::EachAppend) also as [`sync`](Self::sync).
    pub fn append(&mut self, samples: &[EncodedSample]) -> Result<(), StoreError> {
        self.records.encode(samples)?;
        let (held, more, limit) = (self.bytes(), self.records.counted(), self.limit);
        if held + more > limit {
            return Err(StoreError::Full { held, samples: self.len(), more, limit });
        }
        match &mut self.kept {
            Kept::Memory { records, bytes } => {
                let news = self.records.iter().map(Bytes::copy_from_slice);
                Arc::make_mut(records).extend(news);
                *bytes += self.records.bytes().len() as u64;
                Ok(())
            }
            Kept::Disk(disk) => disk.append(&self.records),
        }
    }

    /// Whether so much is pending that [`sync`](Self::sync) is to be called without waiting for a
    /// pause.
    pub fn is_sync_due(&self) -> bool {
        match &self.kept {
            Kept::Memory { .. } => false,
            Kept::Disk(disk) => disk.is_sync_due(),
        }
    }

    /// Makes all samples durable, and says how many these are.
    ///
    /// # Errors
    /// If the disk fails or is full. The samples that were not durable are then dropped: they have not
    /// been acknowledged, and are to be sent again.
    pub fn sync(&mut self) -> Result<u64, StoreError> {
        if let Kept::Disk(disk) = &mut self.kept {
            disk.sync()?;
        }
        Ok(self.durable())
    }

    /// Drops the samples from ordinal `len` on, durably; with `len` or fewer samples, none.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn truncate(&mut self, len: u64) -> Result<(), StoreError> {
        if len >= self.len() {
            return Ok(());
        }
        match &mut self.kept {
            Kept::Memory { records, bytes } => {
                let dropped = Arc::make_mut(records).drain(len as usize..);
                *bytes -= dropped.map(|record| record.len() as u64).sum::<u64>();
                Ok(())
            }
            Kept::Disk(disk) => disk.truncate(len as usize),
        }
    }

    /// The samples `ordinals`, in that order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for one that is not as it was written or that the system cannot read:
    /// nothing of it is shown. [`StoreError::Absent`] if there is none of that ordinal.
    pub fn read(&self, ordinals: &[u64]) -> Result<Vec<EncodedSample>, StoreError> {
        self.view().read(ordinals)
    }

    /// Reads ahead in this order, with several threads and bounded memory. What is appended or
    /// truncated later does not change the order; a sample that is truncated before it is read is
    /// [`StoreError::Damaged`].
    pub fn prefetch(&self, order: Vec<u64>) -> Prefetch {
        Prefetch::new(self.view(), order)
    }

    fn view(&self) -> View {
        match &self.kept {
            Kept::Memory { records, .. } => View::Memory { records: Arc::clone(records) },
            Kept::Disk(disk) => disk.view(),
        }
    }
}
