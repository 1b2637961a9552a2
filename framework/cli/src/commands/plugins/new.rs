//! `plugins new`: a folder that builds and passes `plugins check` as it is.

mod name;
mod template;

use std::fs;
use std::io;
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
    /// A slot that there is no template of.
    #[error(
        "there is no template of a {slot} in C, but of selectors, privacy policies, quantizers and transports; \
         take `--lang rust`, or begin with one of these: the header that comes with it has every slot"
    )]
    Language {
        /// The slot.
        slot: Slot,
    },
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
        matches!(self, Self::Name { .. } | Self::Language { .. } | Self::Framework { .. })
    }
}

pub(super) fn new(arguments: &Arguments, new: &NewArguments) -> Outcome {
    let name = Name::parse(&new.name)?;
    let slot = Slot::from(new.slot);
    let template = Template::of(slot, new.lang).ok_or(NewError::Language { slot })?;
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
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| NewError::Write { path, source }
    };
    // Not `exists`: a link to nowhere is something, too.
    if fs::symlink_metadata(folder).is_ok() {
        return Err(NewError::Exists(folder.to_owned()));
    }
    let whole =
        tempfile::Builder::new().prefix(".mobillm-new-").tempdir_in(".").map_err(failed(folder))?;
    for (name, content) in files {
        let path = whole.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::write(&path, content).map_err(failed(&path))?;
    }
    // A temporary folder is for its owner alone; this one is to be read by others.
    fs::create_dir(folder).map_err(failed(folder))?;
    let place = fs::metadata(folder).map_err(failed(folder))?;
    fs::set_permissions(whole.path(), place.permissions()).map_err(failed(folder))?;
    // Over the empty folder that was just made, and over nothing else.
    fs::rename(whole.keep(), folder).map_err(failed(folder))
}
