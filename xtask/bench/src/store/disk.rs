//! What the system knows of a disk, its cache and this process's memory.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::path::Path;

use rustix::fs::{Advice, fadvise, statfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::Error;

const TMPFS: i64 = 0x0102_1994;

/// Refuses a folder in memory.
pub fn check(folder: &Path) -> Result<(), Error> {
    match statfs(folder)?.f_type == TMPFS {
        true => {
            Err(format!("{} is in memory; set TMPDIR to a folder on a disk", folder.display())
                .into())
        }
        false => Ok(()),
    }
}

/// Drops `file` from the page cache, and shows by many probes that it is gone.
pub fn make_cold(file: &File) -> Result<(), Error> {
    const PROBES: u64 = 256;
    file.sync_all()?;
    fadvise(file, 0, None, Advice::DontNeed)?;
    // A probe must not have the system read what follows it.
    fadvise(file, 0, None, Advice::Random)?;
    let bytes = file.metadata()?.len();
    for probe in 0..PROBES {
        let mut byte = [0];
        let place = bytes / PROBES * probe;
        match preadv2(file, &mut [IoSliceMut::new(&mut byte)], place, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => {}
            Ok(_) => return Err(format!("byte {place} is still in the page cache").into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(fadvise(file, 0, None, Advice::Normal)?)
}

/// Bytes of this process's memory now; from here on [`peak`] is counted.
pub fn reset_peak() -> Result<u64, Error> {
    fs::write("/proc/self/clear_refs", "5")?;
    memory("VmRSS:")
}

/// The most bytes of this process's memory since [`reset_peak`].
pub fn peak() -> Result<u64, Error> {
    memory("VmHWM:")
}

fn memory(key: &str) -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no memory in status")?;
    Ok(kib.parse::<u64>()? * 1024)
}
