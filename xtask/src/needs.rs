//! Fetches what a task needs, with a line for each step.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;

use mobillm_pull::{Cache, Progress, PullError, Stage, catalogue, pull};

use crate::process::Failure;

/// What is in the cache for the programs that a task runs.
pub(crate) struct Needs {
    cache: Cache,
    libtorch: Option<PathBuf>,
}

impl Needs {
    /// What runs MobiLLM on real text: ONNX Runtime, MiniLM and the SMS data.
    pub(crate) fn a_run() -> Result<Self, PullError> {
        let cache = Cache::user()?;
        if env::var_os("ORT_DYLIB_PATH").is_none() {
            fetch(&cache, "onnxruntime")?;
        }
        for name in ["all-minilm-l6-v2", "sms-spam"] {
            fetch(&cache, name)?;
        }
        Ok(Self { cache, libtorch: None })
    }

    /// What compiles the whole workspace: libtorch, the user's own where `LIBTORCH` names one.
    pub(crate) fn the_workspace() -> Result<Self, Failure> {
        let cache = Cache::user()?;
        let libtorch = match env::var_os("LIBTORCH") {
            Some(folder) => checked(folder.into())?,
            None => fetch(&cache, "libtorch")?,
        };
        Ok(Self { cache, libtorch: Some(libtorch) })
    }

    /// Both, and the models of the tests that need a decoder and a graph of somebody else.
    pub(crate) fn everything() -> Result<Self, Failure> {
        let Self { cache, .. } = Self::a_run()?;
        for name in ["smollm2-135m-instruct", "all-minilm-l6-v2-onnx"] {
            fetch(&cache, name)?;
        }
        Self::the_workspace()
    }

    /// Tells a program where to find them. The cache's path is given whole: tests run in the
    /// folders of their crates, where a relative one would mean something else.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("MOBILLM_CACHE", self.cache.path());
        if let Some(libtorch) = &self.libtorch {
            command.env("LIBTORCH", libtorch);
            let variable =
                if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
            let mut path = libtorch.join("lib").into_os_string();
            if let Some(already) = env::var_os(variable) {
                path.push(":");
                path.push(already);
            }
            command.env(variable, path);
        }
        command
    }
}

/// The folder, if it holds the libtorch that the bindings are for: any other fails only after minutes
/// of compiling, or at the first call.
fn checked(folder: PathBuf) -> Result<PathBuf, Failure> {
    let item = catalogue().iter().find(|item| item.name == "libtorch");
    let expected = item.map_or("", |item| item.version);
    let wrong = |found| Err(Failure::Libtorch { folder: folder.clone(), found, expected });
    match fs::read_to_string(folder.join("build-version")) {
        // Builds for an accelerator carry its name: 2.13.0+cu130.
        Ok(version) if version.trim().split('+').next() == Some(expected) => Ok(folder),
        Ok(version) => wrong(format!("version {} is", version.trim())),
        Err(error) => wrong(format!("the file build-version cannot be read ({error})")),
    }
}

fn fetch(cache: &Cache, name: &str) -> Result<PathBuf, PullError> {
    let mut lines = Lines { last: None, drawing: false };
    let path = pull(cache, name, &mut |progress| lines.show(progress));
    lines.end();
    path
}

/// A line for each step of each package; on a terminal also how far it has come.
struct Lines {
    last: Option<(String, Stage)>,
    drawing: bool,
}

impl Lines {
    fn show(&mut self, progress: Progress<'_>) {
        let Progress { item, package, stage, done, total } = progress;
        let what = match stage {
            Stage::Waiting => format!("{item}: waiting for another process that pulls it"),
            Stage::Downloading => {
                format!("{item}: downloading {package} ({} MB)", megabytes(total))
            }
            Stage::Verifying => format!("{item}: verifying {package}"),
            Stage::Unpacking => format!("{item}: unpacking {package}"),
        };
        if io::stderr().is_terminal() {
            if self.last.as_ref().is_some_and(|(of, at)| (of.as_str(), *at) != (package, stage)) {
                self.end();
            }
            eprint!("\r{what} {:>4} MB", megabytes(done));
            let _ = io::stderr().flush();
            self.drawing = true;
        } else if self.last.as_ref().is_none_or(|(of, at)| (of.as_str(), *at) != (package, stage)) {
            eprintln!("{what}");
        }
        self.last = Some((package.to_owned(), stage));
    }

    /// Leaves the line that is being drawn.
    fn end(&mut self) {
        if std::mem::take(&mut self.drawing) {
            eprintln!();
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtorch_of_another_version_is_refused_with_what_to_do() {
        let folder = env::temp_dir().join(format!("mobillm-libtorch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let missing = checked(folder.clone()).unwrap_err().to_string();
        assert!(missing.contains("build-version cannot be read"), "{missing}");
        fs::write(folder.join("build-version"), "2.12.1+cpu\n").unwrap();
        let old = checked(folder.clone()).unwrap_err().to_string();
        assert!(old.contains("where version 2.12.1+cpu is; expected libtorch 2.13.0."), "{old}");
        fs::write(folder.join("build-version"), "2.13.0+cu130\n").unwrap();
        assert_eq!(checked(folder.clone()).unwrap(), folder);
        fs::remove_dir_all(folder).unwrap();
    }
}
