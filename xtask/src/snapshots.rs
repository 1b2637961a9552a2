//! Snapshots that nothing is compared with: what is left of a test that is gone or has another name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io, process};

use crate::process::Failure;

/// Where insta notes which snapshots tests were compared with, if this names a file.
const VARIABLE: &str = "INSTA_SNAPSHOT_REFERENCES_FILE";

/// The snapshots that the programs told of this were compared with. Its file ends with it.
pub(crate) struct Compared {
    file: PathBuf,
}

impl Compared {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { file: env::temp_dir().join(format!("mobillm-snapshots-{}", process::id())) }
    }

    /// Has the tests that `command` runs note what they are compared with.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(VARIABLE, &self.file)
    }

    /// Refuses snapshots under `root` that no test was compared with, and those that wait to be accepted.
    ///
    /// # Errors
    /// With their paths, or if a folder cannot be read.
    pub(crate) fn check(&self, root: &Path) -> Result<(), Failure> {
        let unreadable = |source| Failure::Snapshots { source };
        let noted = match fs::read_to_string(&self.file) {
            Ok(noted) => noted,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unreadable(error)),
        };
        // What a test has had in a folder of its own is gone by now.
        let compared: BTreeSet<PathBuf> =
            noted.lines().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let root = root.canonicalize().map_err(unreadable)?;
        let mut left = Vec::new();
        find(&root, &mut left).map_err(unreadable)?;
        left.retain(|path| !compared.contains(path));
        left.sort();
        if left.is_empty() { Ok(()) } else { Err(Failure::LeftSnapshots { paths: left }) }
    }
}

impl Drop for Compared {
    fn drop(&mut self) {
        // There is none if no test was compared with a snapshot.
        let _ = fs::remove_file(&self.file);
    }
}

/// Every snapshot below `folder`, but for those of hidden folders and of what was built.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && name != "target" {
                find(&entry.path(), found)?;
            }
        } else if [".snap", ".snap.new", ".pending-snap"].iter().any(|end| name.ends_with(end)) {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_test_was_compared_with_is_refused() {
        let root = env::temp_dir().join(format!("mobillm-left-{}", process::id()));
        let folder = root.join("crate/tests/snapshots");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        for name in ["crate/tests/snapshots/a.snap", "target/b.snap", "crate/notes.txt"] {
            fs::write(root.join(name), "").unwrap();
        }
        let compared = Compared::new();
        let left = |compared: &Compared| match compared.check(&root) {
            Ok(()) => Vec::new(),
            Err(Failure::LeftSnapshots { paths }) => {
                let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
                paths.iter().map(name).collect()
            }
            Err(failure) => panic!("{failure}"),
        };
        assert_eq!(left(&compared), ["a.snap"]);
        // As insta writes it: from the place of the test, in a run or two; and one that is gone.
        let noted = folder.join("../snapshots/a.snap");
        let mut script = Command::new("sh");
        script.args(["-c", "for path in \"$0\" \"$0\" gone.snap; do echo $path; done > $INSTA_SNAPSHOT_REFERENCES_FILE"]);
        assert!(compared.tell(script.arg(noted)).status().unwrap().success());
        assert_eq!(left(&compared), Vec::<String>::new());
        for name in ["a.snap.new", "b.snap"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(left(&compared), ["a.snap.new", "b.snap"]);
        let file = compared.file.clone();
        drop(compared);
        assert!(!file.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
