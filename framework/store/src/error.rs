//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why samples cannot be kept or given back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The config asks for no store.
    #[error("the config keeps no samples (server.store.type = \"none\"), so no store is opened")]
    NotKept,
    /// The system refuses an operation on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The disk or the user's quota on it is full, or the file is as large as it may be.
    #[error(
        "cannot write {}: {source}; make room there and start the server again: what the store \
         has acknowledged is kept",
        path.display()
    )]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is no index of a store, or one of another version.
    #[error(
        "{}: {problem}; remove the folder that it is in, and the device sends the samples again",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what is there.
        problem: String,
    },
    /// The store holds samples of something else.
    #[error(
        "{}: the store was written with {}; go on with the config and the bundle that it was \
         begun with, or use another folder",
        path.display(), differences.join("; ")
    )]
    Identity {
        /// The index that says so.
        path: PathBuf,
        /// For each part what is written there and what this run has.
        differences: Vec<String>,
    },
    /// More samples than the config allows. The store is as it was.
    #[error(
        "the store is full: it holds {held} bytes in {samples} samples, {more} bytes are to come \
         and the limit is {limit} bytes; raise `server.store.limit_mib`, or choose a quantizer or \
         selector that sends less"
    )]
    Full {
        /// Bytes in the store.
        held: u64,
        /// Samples in the store.
        samples: u64,
        /// Bytes that were to be added.
        more: u64,
        /// Most bytes that it may hold.
        limit: u64,
    },
    /// A sample that no record can hold.
    #[error("a sample of {bytes} bytes cannot be kept: the most is {} bytes", u32::MAX)]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// A sample that is not as it was written, or that the system cannot read. Whoever reads it
    /// [truncates](crate::Store::truncate) the store before it, so that the device is asked again.
    #[error(
        "{}: sample {ordinal} at byte {offset} is damaged: {problem}; it and all after it are \
         dropped: start the device again, which sends them again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which sample, in order of arrival from 0.
        ordinal: u64,
        /// Where it begins.
        offset: u64,
        /// How it shows.
        problem: String,
    },
    /// A sample that never arrived, or that was dropped.
    #[error("there is no sample {ordinal}: the store holds {samples}")]
    Absent {
        /// Which one was asked for.
        ordinal: u64,
        /// How many there are.
        samples: u64,
    },
    /// What is on the disk can no longer be told.
    #[error(
        "{}: a write failed earlier and could not be undone; open the store again, which keeps \
         what it has acknowledged",
        path.display()
    )]
    Broken {
        /// The file that is in doubt.
        path: PathBuf,
    },
    /// No thread is there to read ahead.
    #[error("the system has started no thread to read samples ahead; raise the limit of threads")]
    ReadAhead,
}

impl StoreError {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => Self::DiskFull { path, source },
                _ => Self::File { action, path, source },
            }
        }
    }
}
