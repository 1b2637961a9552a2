//! A library looked at by another process.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mobillm::{RunError, Stop};
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGABRT, SIGBUS, SIGSEGV};
use signal_hook::low_level::signal_name;

use super::trial::Task;
use crate::CommandError;

/// Between two looks at a process.
const TICK: Duration = Duration::from_millis(5);

/// What `mobillm plugins trial` is started with.
pub(super) struct Child<'a> {
    /// The library.
    pub(super) file: &'a Path,
    /// What its user calls it.
    pub(super) name: &'a Path,
    /// How long a task may take.
    pub(super) patience: Duration,
    /// Whether the user wants no more.
    pub(super) stop: Stop,
}

impl Child<'_> {
    /// What a process of its own found, or else in words how it ended.
    ///
    /// # Errors
    /// If no process can be started, or if the user has stopped this one.
    pub(super) fn run<T: DeserializeOwned>(
        &self,
        task: &Task,
    ) -> Result<Result<T, String>, CommandError> {
        // Files, not pipes: whatever the library leaves open, they can be read once the process is gone.
        let (mut found, mut said) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let program = std::env::current_exe().map_err(RunError::file("find", "this program"))?;
        let mut process = Command::new(&program)
            .args(["plugins", "trial"])
            .arg(format!("--patience={}", self.patience.as_secs()))
            .arg(format!("--task={}", serde_json::to_string(task)?))
            .arg("--")
            .arg(self.file)
            .stdin(Stdio::null())
            .stdout(found.try_clone()?)
            .stderr(said.try_clone()?)
            .spawn()
            .map_err(RunError::file("start", program))?;
        let deadline = Instant::now() + self.patience;
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break Some(status);
            }
            if self.stop.is_requested() || Instant::now() >= deadline {
                process.kill()?;
                process.wait()?;
                break None;
            }
            sleep(TICK);
        };
        // A Ctrl-C on a terminal ends both processes.
        if self.stop.is_requested() {
            return Err(RunError::Stopped.into());
        }
        let (found, said) = (text(&mut found)?, text(&mut said)?);
        let said = said.replace(&*self.file.to_string_lossy(), &self.name.to_string_lossy());
        Ok(match status {
            Some(status) => match serde_json::from_str(&found) {
                Ok(found) if status.success() => Ok(found),
                _ => Err(ended(status, &said)),
            },
            None => {
                let seconds = self.patience.as_secs();
                Err(format!("it did not end within {seconds} s and was killed{}", last(&said)))
            }
        })
    }
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a process that failed died of.
fn ended(status: ExitStatus, said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let error = lines.iter().rposition(|line| line.starts_with("error: "));
    match (status.code(), status.signal(), error) {
        (Some(1), _, Some(at)) => lines[at..].join("\n").replacen("error: ", "", 1),
        (_, Some(signal), _) => {
            let name =
                signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
            let meaning = match signal {
                SIGSEGV | SIGBUS => ": it touched memory that is not there",
                SIGABRT => {
                    ": it gave up, as it does over memory that is released twice or overwritten"
                }
                _ => "",
            };
            format!("the process died of {name}{meaning}{}", last(said))
        }
        (code, ..) => {
            let code = code.unwrap_or_default();
            format!("the library ended the process, with exit code {code}{}", last(said))
        }
    }
}

/// The last line that somebody said.
fn last(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map(|line| format!("; said last: {line}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_told_in_words() {
        let aborted = ExitStatus::from_raw(SIGABRT);
        assert_eq!(
            ended(aborted, "a note\nfree(): double free detected\n\n"),
            "the process died of SIGABRT: it gave up, as it does over memory that is released twice or \
             overwritten; said last: free(): double free detected"
        );
        let crashed = ended(ExitStatus::from_raw(SIGSEGV), "");
        assert_eq!(crashed, "the process died of SIGSEGV: it touched memory that is not there");
        // The exit code is in the second byte.
        let refused = ended(ExitStatus::from_raw(1 << 8), "noise\nerror: no plugin\nof mobillm\n");
        assert_eq!(refused, "no plugin\nof mobillm");
        let left = ended(ExitStatus::from_raw(3 << 8), "error: not ours");
        assert_eq!(
            left,
            "the library ended the process, with exit code 3; said last: error: not ours"
        );
        let early = ended(ExitStatus::from_raw(0), "");
        assert_eq!(early, "the library ended the process, with exit code 0");
    }
}
