//! `plugins new`: a folder that builds and passes `plugins check` as it is.

mod name;
mod template;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mobillm_core::registry::Slot;
use serde_json::json;
use thiserror::Error;

use self::name::Name;
use self::template::Template;
use super::super::{Outcome, print};
use crate::arguments::Arguments;
use crate::arguments::plugins::{Language, NewArguments};

/// Why nothing was begun.
#[derive(Debug, Error)]
pub(crate) enum NewError {
    /// A name that no plugin has.
    #[error(
        "`{name}` {problem}; expected lower-case words joined by hyphens, of which the first is yours: \
         `acme-q6` becomes the `acme.q6` of configs"
    )]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is something of that name.
    #[error("{} is there already; nothing is overwritten, take another name", .0.display())]
    Exists(PathBuf),
    /// Crates that nobody can download.
    #[error(
        "a plugin in Rust is built with mobillm's crates, which are not published yet: say where its sources are \
         with `--framework FOLDER`, or take `--lang c`, which needs none of them"
    )]
    Unpublished,
    /// No sources of mobillm.
    #[error("{} is no folder of mobillm's sources: there is no {} in it", path.display(), missing.display())]
    Framework {
        /// What was given.
        path: PathBuf,
        /// What would be there.
        missing: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl NewError {
    /// Whether it is the command line that is wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Name { .. } | Self::Unpublished | Self::Framework { .. })
    }
}

pub(super) fn new(arguments: &Arguments, new: &NewArguments) -> Outcome {
    let name = Name::parse(&new.name)?;
    let slot = Slot::from(new.slot);
    let template = Template::of(slot, new.lang);
    let files = template.files(&name, new.framework.as_deref())?;
    let folder = PathBuf::from(name.folder());
    write(&folder, &files)?;
    let paths: Vec<&str> = files.iter().map(|(path, _)| &**path).collect();
    let told = json!({ "folder": folder, "tag": name.tag(), "files": paths });
    print(arguments.json, &told, || {
        let build = match new.lang {
            Language::Rust => "cargo build",
            Language::C => "make",
        };
        let library = template.library(&name);
        format!(
            "{} has the {slot} `{}`: {}\nTry it: cd {} && {build} && mobillm plugins check {library}",
            folder.display(),
            name.tag(),
            paths.join(", "),
            folder.display(),
        )
    })
}

/// Writes `files` into the new folder `folder`: all of them, or nothing.
fn write(folder: &Path, files: &[(String, String)]) -> Result<(), NewError> {
    // Not `exists`: a link to nowhere is something, too.
    if fs::symlink_metadata(folder).is_ok() {
        return Err(NewError::Exists(folder.to_owned()));
    }
    let failed = |path: PathBuf| |source| NewError::Write { path, source };
    // It is removed at the end, with all that could not be finished in it.
    let workplace = tempfile::Builder::new().prefix(".mobillm-new-").tempdir_in(".");
    let workplace = workplace.map_err(failed(folder.to_owned()))?;
    let whole = workplace.path().join(folder);
    for (name, content) in files {
        write_file(&whole.join(name), content).map_err(failed(folder.join(name)))?;
    }
    // Whatever came to be there meanwhile stays, unless it is an empty folder.
    fs::rename(&whole, folder).map_err(failed(folder.to_owned()))
}

/// Writes a file to the disk, and the folders that it needs.
fn write_file(path: &Path, content: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::create_new(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
