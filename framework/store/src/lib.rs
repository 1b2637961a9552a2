//! The server's activation cache: samples as they came, in memory or on disk.
//!
//! With PAE MobiLLM a sample's activations cross the link once. The server keeps them here, in the form
//! in which they came, and later epochs read them in an order of their own: they need neither the
//! device nor its data. [`StoreConfig`] says where, [`Store`] holds them, [`Prefetch`] reads ahead.
//!
//! # What survives
//!
//! Only the first [`durable`](Store::durable) samples may be acknowledged to the device. After a crash
//! at any moment, of the process or (unless [`Fsync::Never`]) of the machine, [`Store::open`] shows a
//! prefix of what was appended, at least all that was durable, and no half-written sample. What it had
//! to cut off is in [`recovered`](Store::recovered). A sample whose bytes have changed since, or
//! which the system cannot read, is [`StoreError::Damaged`] when it is read, and never another sample.
//!
//! # On disk
//!
//! Records lie end to end in the file `samples`. The file `index` begins with the format version and
//! the [`Identity`], then has for each sample the length and the checksum of its record. Records are
//! synced before their entries are written, and these are synced before they are acknowledged: an entry
//! proves that its record is there, so opening reads the index alone. Nothing is ever dropped but from
//! the end; one file needs no more than that.
//!
//! An embedded key-value store was measured too (redb, with the same groups): it ingests slower and takes
//! twice the room, for it pays for what is not needed here. Samples are never changed, come in the order
//! of their keys and are as large as several pages of a tree.
//!
//! # Memory
//!
//! A store on disk holds 16 bytes a sample and the records of the largest append, and a [`Prefetch`]
//! 8 bytes a sample and [`READ_AHEAD_BYTES`]: beside what grows with the number of samples,
//! [`RESIDENT_BYTES`] at most. Whoever appends while a [`Prefetch`] lives has those 16 bytes twice.
//!
//! # Example
//!
//! ```
//! use mobillm_core::fingerprint::Fingerprint;
//! use mobillm_core::privacy::Supervision;
//! use mobillm_core::sample::{EncodedSample, SampleId};
//! use mobillm_store::{Fsync, Identity, Store, StoreConfig};
//!
//! let config = StoreConfig::Disk { limit_mib: 1, fsync: Fsync::Group };
//! let identity = Identity {
//!     run: "a run".into(),
//!     bundle: Fingerprint::of(b"the backbone"),
//!     pipeline: Fingerprint::of(b"the rest of the config"),
//!     quantizer: "int8".into(),
//!     taps: vec![6],
//!     hidden: 4,
//! };
//! let samples: Vec<_> = (0..3)
//!     .map(|id| EncodedSample {
//!         id: SampleId(id),
//!         positions: vec![5],
//!         taps: vec![vec![id as u8; 8].into()],
//!         supervision: Supervision::Label(1),
//!     })
//!     .collect();
//!
//! let folder = tempfile::tempdir()?;
//! let mut store = Store::open(&config, folder.path(), &identity)?;
//! store.append(&samples[..2])?;
//! assert_eq!(store.sync()?, 2);
//! store.append(&samples[2..])?;
//! assert_eq!((store.len(), store.durable()), (3, 2));
//! drop(store); // The server is killed: the third was never acknowledged.
//!
//! let store = Store::open(&config, folder.path(), &identity)?;
//! assert!(store.recovered().is_some());
//! let mut epoch = store.prefetch(vec![1, 0]);
//! assert_eq!(epoch.next(8)?, [samples[1].clone(), samples[0].clone()]);
//! assert_eq!(epoch.next(8)?, []);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod config;
mod disk;
mod error;
mod identity;
mod index;
mod position;
mod prefetch;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use config::{Fsync, StoreConfig};
pub use disk::GROUP_BYTES;
pub use error::StoreError;
pub use identity::Identity;
pub use prefetch::{Prefetch, READ_AHEAD_BYTES};
pub use record::record_bytes;
pub use store::Store;

/// Memory that a store on disk and one [`Prefetch`] of it take at most, beside 24 bytes a sample and
/// three times the bytes of the largest append.
pub const RESIDENT_BYTES: u64 = 64 << 20;
