//! Why a comparison could not be read or written.

use std::io;
use std::path::PathBuf;

use mobillm::RunError;
use thiserror::Error;

use crate::comparison::FORMAT;

/// Why a comparison could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be written; the one that was there before still is.
    #[error(transparent)]
    Write(#[from] RunError),
    /// The folder for the report could not be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A comparison could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file that is no comparison.
    #[error(
        "{}: {source}; expected a compare.json as `mobillm compare` writes it", path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
    /// A comparison of a later release.
    #[error(
        "{}: format {found}, this release reads up to {FORMAT}; read it with the release that wrote \
         it, or a later one",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}
