//! Files that are there whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::RunError;

/// Replaces `path` by `bytes`: a temporary file beside it, fsync, rename. After a crash at any
/// moment the old content is there or the new one.
///
/// # Errors
/// If it cannot be written, a full disk included; the old content is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The rename itself must survive too.
        File::open(folder)?.sync_all()
    };
    write().map_err(RunError::file("write", path))
}

/// [`replace`] with `value` as indented JSON.
///
/// # Errors
/// As [`replace`].
pub fn replace_json(path: &Path, value: &impl serde::Serialize) -> Result<(), RunError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|error| RunError::file("write", path)(error.into()))?;
    json.push(b'\n');
    replace(path, &json)
}

/// Reads a JSON file that this crate wrote.
///
/// # Errors
/// If it cannot be read or is not what was expected.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let bytes = std::fs::read(path).map_err(RunError::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::file("read", path)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = replace(&folder.path().join("missing/file"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
