//! The run folder: what a run leaves behind, and what it goes on from.

pub mod file;
mod folder;
mod ledger;
pub mod summary;
mod tensorboard;

use std::fs::{self, File, TryLockError};
use std::path::Path;

pub use folder::{RunFolder, RunState, Spent, Work};
pub use ledger::Ledger;
use mobillm_plugin::Manifest;

use crate::error::RunError;

/// What a message calls `plugins`: name, version and the beginning of the file's sha256 of each.
pub(crate) fn named(plugins: &[Manifest]) -> String {
    let one = |Manifest { name, version, sha256, .. }: &Manifest| match sha256 {
        Some(sha256) => format!("{name} {version}, file {}", sha256.short()),
        None => format!("{name} {version}"),
    };
    match plugins {
        [] => "none".to_owned(),
        plugins => plugins.iter().map(one).collect::<Vec<_>>().join("; "),
    }
}

/// What a message calls the plugins that a run was begun with where others are there now.
pub(crate) fn then_and_now(then: &[Manifest], now: &[Manifest]) -> String {
    format!("another set of plugins ({}; now it is {})", named(then), named(now))
}

/// Makes the folder `path` and locks it for this process, for as long as the file that is returned is
/// open. What a killed process has left half-written in it is removed.
///
/// # Errors
/// If the folder cannot be made, or another process has it.
pub fn lock(path: &Path) -> Result<File, RunError> {
    fs::create_dir_all(path).map_err(RunError::file("make the folder", path))?;
    let file = path.join(".lock");
    let lock = File::create(&file).map_err(RunError::file("write", &file))?;
    match lock.try_lock() {
        Ok(()) => file::remove_partial(path).map(|()| lock),
        Err(TryLockError::WouldBlock) => Err(RunError::Folder {
            path: path.to_owned(),
            problem: "another mobillm process is using it; wait for it, or use another --out"
                .into(),
        }),
        Err(TryLockError::Error(error)) => Err(RunError::file("lock", file)(error)),
    }
}
