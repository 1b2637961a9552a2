//! Where pulled things lie.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::PullError;
use crate::item::Item;

/// A folder that holds what was pulled: `models/`, `data/` and `libraries/`, and in each a folder
/// `<name>-<version>`.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: the folder that `MOBILLM_CACHE` names, else `mobillm` in the user's cache
    /// folder.
    ///
    /// # Errors
    /// [`PullError::NoCacheFolder`] where neither is known.
    pub fn user() -> Result<Self, PullError> {
        match env::var_os("MOBILLM_CACHE").filter(|path| !path.is_empty()) {
            // Libraries are loaded and linked by this path from other working folders too.
            Some(path) => std::path::absolute(&path)
                .map(Self::at)
                .map_err(PullError::io("resolve", Path::new(&path))),
            None => etcetera::choose_base_strategy()
                .map(|user| Self::at(user.cache_dir().join("mobillm")))
                .map_err(|_| PullError::NoCacheFolder),
        }
    }

    /// The cache in this folder, which is made on the first pull.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Where an item lies once it is whole.
    pub(crate) fn folder(&self, item: &Item) -> PathBuf {
        self.root.join(item.kind.folder()).join(item.folder())
    }

    /// Waits until no other process pulls `item`; the lock lasts as long as the file is open, and
    /// the operating system frees it when a process dies.
    pub(crate) fn lock(&self, item: &Item, waiting: impl FnOnce()) -> Result<File, PullError> {
        let folder = self.root.join("locks");
        fs::create_dir_all(&folder).map_err(PullError::io("make", &folder))?;
        let path = folder.join(item.folder());
        let file = File::create(&path).map_err(PullError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => waiting(),
            Err(TryLockError::Error(source)) => {
                return Err(PullError::Io { action: "lock", path, source });
            }
        }
        file.lock().map_err(PullError::io("lock", &path))?;
        Ok(file)
    }

    /// An empty folder to build `item` in, on the file system that it will lie on. Only the holder
    /// of the item's lock may ask for it: what an interrupted pull left there is removed.
    pub(crate) fn partial(&self, item: &Item) -> Result<Partial, PullError> {
        let path = self.root.join("partial").join(item.folder());
        remove(&path)?;
        fs::create_dir_all(&path).map_err(PullError::io("make", &path))?;
        Ok(Partial { path })
    }
}

/// A folder that goes when its owner does.
pub(crate) struct Partial {
    path: PathBuf,
}

impl Partial {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next pull of the same item.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Puts the finished `folder` at `place`, whole or not at all, also over a loss of power.
pub(crate) fn publish(folder: &Path, place: &Path) -> Result<(), PullError> {
    sync(folder)?;
    // Whoever comes here found the item broken, such as by a file removed by hand.
    remove(place)?;
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(PullError::io("make", parent))?;
    fs::rename(folder, place).map_err(PullError::io("rename to", place))?;
    sync_folder(parent)
}

fn remove(folder: &Path) -> Result<(), PullError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PullError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Syncs all that lies below `folder`, and the folder.
fn sync(folder: &Path) -> Result<(), PullError> {
    for entry in fs::read_dir(folder).map_err(PullError::io("list", folder))? {
        let path = entry.map_err(PullError::io("list", folder))?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            let file = File::open(&path).map_err(PullError::io("open", &path))?;
            file.sync_all().map_err(PullError::io("sync", &path))?;
        }
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), PullError> {
    // Elsewhere a folder cannot be opened as a file, and a rename is durable without it.
    if cfg!(unix) {
        let file = File::open(folder).map_err(PullError::io("open", folder))?;
        file.sync_all().map_err(PullError::io("sync", folder))?;
    }
    Ok(())
}
