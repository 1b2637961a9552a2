//! Samples in two files: `samples`, their records end to end, and `index`.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crc32c::crc32c;

use crate::config::Fsync;
use crate::error::StoreError;
use crate::identity::Identity;
use crate::index::{self, Contents, Entry, Index};
use crate::position;
use crate::record::Records;
use crate::view::View;

/// With [`Fsync::Group`], bytes that are written before they are synced.
pub const GROUP_BYTES: u64 = 8 << 20;

const INDEX: &str = "index";
const SAMPLES: &str = "samples";

/// An open store in a folder.
#[derive(Debug)]
pub struct Disk {
    pub index: Index,
    pub file: Arc<File>,
    path: Arc<Path>,
    fsync: Fsync,
    entries: Arc<Vec<Entry>>,
    /// How many of the entries are in the index and survive what `fsync` promises.
    durable: usize,
    recovered: Option<String>,
    /// What is on the disk is not what is here.
    broken: bool,
}

impl Disk {
    /// Opens or makes the store in `folder` and cuts off what was never acknowledged.
    pub fn open(folder: &Path, fsync: Fsync, identity: &Identity) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::file("make", folder))?;
        let path: Arc<Path> = folder.join(SAMPLES).into();
        let open = || {
            let file =
                File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
            Ok((file.metadata()?.len(), file))
        };
        let (bytes, file) = open().map_err(StoreError::file("open", &path))?;
        let (index, found) = Index::open(folder.join(INDEX), identity, bytes)?;
        let (recovered, durable) = (found.recovery(), found.entries.len());
        let (entries, file, broken) = (Arc::new(found.entries), Arc::new(file), false);
        let disk = Self { index, file, path, fsync, entries, durable, recovered, broken };
        disk.repair()?;
        disk.sync_folder(folder)?;
        disk.advise();
        Ok(disk)
    }

    /// Whether the store in `folder` holds a sample, whoever's it is.
    pub fn holds_samples(folder: &Path) -> Result<bool, StoreError> {
        let (index, samples) = (folder.join(INDEX), folder.join(SAMPLES));
        let bytes = match fs::metadata(&samples) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            found => found.map_err(StoreError::file("open", &samples))?.len(),
        };
        let is_new = index::is_new(&index, bytes);
        Ok(!is_new && !Contents::read(&index, bytes)?.entries.is_empty())
    }

    /// Makes the files hold what is here and nothing else, and makes that durable.
    fn repair(&self) -> Result<(), StoreError> {
        self.index.truncate(self.entries.len())?;
        self.cut()?;
        if self.fsync != Fsync::Never {
            self.sync_samples()?;
            self.index.sync()?;
        }
        Ok(())
    }

    /// Makes the names of the files and of the folder survive a crash. Elsewhere than on Unix the
    /// system sees to it.
    fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        if self.fsync == Fsync::Never || !cfg!(unix) {
            return Ok(());
        }
        let named = folder.canonicalize().map_err(StoreError::file("open", folder))?;
        for folder in named.ancestors().take(2) {
            let sync = || File::open(folder)?.sync_all();
            sync().map_err(StoreError::file("sync", folder))?;
        }
        Ok(())
    }

    /// Records are read in any order: what follows one is not worth reading with it.
    fn advise(&self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&*self.file, 0, None, rustix::fs::Advice::Random);
    }

    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn durable(&self) -> usize {
        self.durable
    }

    /// Bytes of the records.
    pub fn bytes(&self) -> u64 {
        index::end(&self.entries)
    }

    pub fn view(&self) -> View {
        let entries = Arc::clone(&self.entries);
        View::Disk { entries, file: Arc::clone(&self.file), path: Arc::clone(&self.path) }
    }

    /// All of `records`, or none.
    pub fn append(&mut self, records: &Records) -> Result<(), StoreError> {
        self.check_whole()?;
        let mut offset = self.bytes();
        if let Err(error) = position::write_all(&self.file, records.bytes(), offset) {
            // Whatever was written is beyond the end and belongs to no sample; this frees its space.
            let _ = self.cut();
            return Err(StoreError::file("write", &self.path)(error));
        }
        let entries = Arc::make_mut(&mut self.entries);
        for record in records.iter() {
            let entry = Entry { offset, length: record.len() as u32, checksum: crc32c(record) };
            offset = entry.end();
            entries.push(entry);
        }
        match self.fsync {
            Fsync::Group => Ok(()),
            Fsync::EachAppend | Fsync::Never => self.sync(),
        }
    }

    pub fn is_sync_due(&self) -> bool {
        self.bytes() - index::end(&self.entries[..self.durable]) >= GROUP_BYTES
    }

    /// Makes all samples durable; if that fails, those that are not are dropped. A system that could
    /// not write a page once may take it for written the next time, so a second attempt would prove
    /// nothing.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check_whole()?;
        if self.durable == self.entries.len() {
            return Ok(());
        }
        let synced = self.commit();
        match synced {
            Ok(()) => self.durable = self.entries.len(),
            Err(_) => {
                Arc::make_mut(&mut self.entries).truncate(self.durable);
                self.broken = self.index.truncate(self.durable).is_err();
                // Beyond the end, as after an append that failed.
                let _ = self.cut();
            }
        }
        synced
    }

    /// The order is what makes an entry a proof that its record is there.
    fn commit(&self) -> Result<(), StoreError> {
        let news = &self.entries[self.durable..];
        match self.fsync {
            Fsync::Never => self.index.write(self.durable, news),
            Fsync::Group | Fsync::EachAppend => {
                self.sync_samples()?;
                self.index.write(self.durable, news)?;
                self.index.sync()
            }
        }
    }

    /// Drops the samples from `samples` on: their entries first, so that none is ever without its
    /// record.
    pub fn truncate(&mut self, samples: usize) -> Result<(), StoreError> {
        self.check_whole()?;
        if samples < self.durable {
            self.index.truncate(samples)?;
            self.durable = samples;
            if self.fsync != Fsync::Never {
                self.index.sync()?;
            }
        }
        Arc::make_mut(&mut self.entries).truncate(samples);
        self.cut()
    }

    fn cut(&self) -> Result<(), StoreError> {
        self.file.set_len(self.bytes()).map_err(StoreError::file("cut", &self.path))
    }

    fn sync_samples(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::file("sync", &self.path))
    }

    fn check_whole(&self) -> Result<(), StoreError> {
        let path = || self.index.path().to_owned();
        if self.broken { Err(StoreError::Broken { path: path() }) } else { Ok(()) }
    }
}
