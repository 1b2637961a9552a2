//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::RunError;

/// What the names of temporary files begin with.
const PARTIAL: &str = ".partial-";

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Whoever the umask allows.
    Shared,
    /// Its owner.
    Owner,
}

/// Replaces `path` by `bytes`: a temporary file beside it, fsync, rename. After a crash at any
/// moment the old content is there or the new one.
///
/// # Errors
/// If it cannot be written, a full disk included; the old content is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    replace_for(Readers::Shared, path, bytes)
}

fn replace_for(readers: Readers, path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut builder = tempfile::Builder::new();
        // A temporary file is its owner's alone if nothing else is said.
        #[cfg(unix)]
        if readers == Readers::Shared {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(PARTIAL).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The rename itself must survive too.
        File::open(folder)?.sync_all()
    };
    write().map_err(RunError::file("write", path))
}

/// Removes what a process that was killed in [`replace`] has left in `folder`. Only the holder of the
/// folder's lock may ask for it.
///
/// # Errors
/// If the folder cannot be read or a file cannot be removed.
pub(crate) fn remove_partial(folder: &Path) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(RunError::file("read", folder))? {
        let path = entry.map_err(RunError::file("read", folder))?.path();
        let name = path.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with(PARTIAL) {
            fs::remove_file(&path).map_err(RunError::file("remove", &path))?;
        }
    }
    Ok(())
}

/// [`replace`] with `value` as indented JSON.
///
/// # Errors
/// As [`replace`].
pub fn replace_json(path: &Path, value: &impl serde::Serialize) -> Result<(), RunError> {
    replace(path, &to_json(path, value)?)
}

/// [`replace_json`] with a file that its owner alone may read.
///
/// # Errors
/// As [`replace`].
pub fn replace_secret_json(path: &Path, value: &impl serde::Serialize) -> Result<(), RunError> {
    replace_for(Readers::Owner, path, &to_json(path, value)?)
}

fn to_json(path: &Path, value: &impl serde::Serialize) -> Result<Vec<u8>, RunError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|error| RunError::file("write", path)(error.into()))?;
    json.push(b'\n');
    Ok(json)
}

/// Reads a JSON file that this crate wrote.
///
/// # Errors
/// If it cannot be read or is not what was expected.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let bytes = fs::read(path).map_err(RunError::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::file("read", path)(error.into()))
}

/// What says of which format a file is, whatever else is in it.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// Reads the JSON file `name` in `folder` if its `format`, which is read alone first, is one of `formats`.
///
/// # Errors
/// If it cannot be read or is not what was expected; of another format with `remedy`, what to do then.
pub fn read_versioned<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    formats: RangeInclusive<u32>,
    remedy: &str,
) -> Result<T, RunError> {
    let file = folder.join(name);
    let Versioned { format } = read_json(&file)?;
    if formats.contains(&format) {
        return read_json(&file);
    }
    let (first, last) = (formats.start(), formats.end());
    let problem =
        format!("{name} has format {format}; this release reads {first} to {last}: {remedy}");
    Err(RunError::Folder { path: folder.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".partial-a1b2", ".lock", "notes.txt"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        remove_partial(folder.path()).unwrap();
        assert!(!folder.path().join(".partial-a1b2").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let others = || fs::metadata(&path).unwrap().permissions().mode() & 0o077;
        replace_secret_json(&path, &1).unwrap();
        assert_eq!(others(), 0);
        replace_json(&path, &1).unwrap();
        // What the umask leaves of it is the user's business: a new file tells.
        let beside = folder.path().join("beside");
        fs::write(&beside, "x").unwrap();
        assert_eq!(others(), fs::metadata(&beside).unwrap().permissions().mode() & 0o077);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = replace(&folder.path().join("missing/file"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
