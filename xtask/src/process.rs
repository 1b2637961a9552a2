//! Runs other programs.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use mobillm_pull::PullError;

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line was not understood.
    #[error("{0}")]
    Usage(String),
    /// Something that the task needs cannot be had.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The user's own libtorch cannot be used.
    #[error(
        "LIBTORCH names {}, where {found}; expected libtorch {expected}. Name another folder, or unset \
         LIBTORCH to fetch the right one", folder.display()
    )]
    Libtorch { folder: PathBuf, found: String, expected: &'static str },
    /// Nothing is compared with these snapshots.
    #[error(
        "no test is compared with these snapshots; delete them, or accept those that wait:\n{}",
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n")
    )]
    LeftSnapshots { paths: Vec<PathBuf> },
    /// The snapshots cannot be gone through.
    #[error("cannot look for snapshots: {source}")]
    Snapshots { source: io::Error },
    /// A program could not be started.
    #[error("cannot run `{line}`: {source}")]
    Start { line: String, source: io::Error },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A program ran and failed; it has told why.
    #[error("`{line}` failed with {status}")]
    Status { line: String, status: ExitStatus },
}

impl Failure {
    /// The failed program's own exit code, 2 for a wrong command line, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Status { status, .. } => {
                status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
            }
            Self::Pull(_)
            | Self::Libtorch { .. }
            | Self::LeftSnapshots { .. }
            | Self::Snapshots { .. }
            | Self::Start { .. }
            | Self::Write { .. } => 1,
        }
    }
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Shows the command, runs it, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let line = show(command);
    let status = command.status();
    finish(line, status)
}

/// Like [`run`], and writes what it prints to `file`, unless it fails.
pub(crate) fn run_into(command: &mut Command, file: &Path) -> Result<(), Failure> {
    let line = show(command);
    let (status, printed) = match command.stderr(Stdio::inherit()).output() {
        Ok(output) => (Ok(output.status), output.stdout),
        Err(error) => (Err(error), Vec::new()),
    };
    finish(line, status)?;
    let partial = file.with_extension("partial");
    let replace = || {
        let mut whole = File::create(&partial)?;
        whole.write_all(&printed)?;
        whole.sync_all()?;
        std::fs::rename(&partial, file)
    };
    replace().map_err(|source| Failure::Write { path: file.to_owned(), source })
}

/// Like [`run`], and gathers in `kept` the lines of its output that `keep` picks.
pub(crate) fn run_keeping(
    command: &mut Command,
    keep: fn(&str) -> bool,
    kept: &mut Vec<String>,
) -> Result<(), Failure> {
    let line = show(command);
    let status =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().and_then(|mut child| {
            let (out, err) = (child.stdout.take(), child.stderr.take());
            thread::scope(|scope| {
                let out = scope.spawn(|| pass_on(out, io::stdout(), keep));
                let err = scope.spawn(|| pass_on(err, io::stderr(), keep));
                for lines in [out.join(), err.join()] {
                    kept.extend(lines.unwrap_or_else(|panic| resume_unwind(panic))?);
                }
                child.wait()
            })
        });
    finish(line, status)
}

fn finish(line: String, status: io::Result<ExitStatus>) -> Result<(), Failure> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Status { line, status }),
        Err(source) => Err(Failure::Start { line, source }),
    }
}

/// Copies lines as they come and returns those that `keep` picks.
fn pass_on(
    from: Option<impl Read>,
    mut to: impl Write,
    keep: fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    let mut kept = Vec::new();
    let Some(from) = from else { return Ok(kept) };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        let text = String::from_utf8_lossy(&line);
        if keep(text.trim()) {
            kept.push(text.trim().to_owned());
        }
        line.clear();
    }
    Ok(kept)
}

/// Prints the command as one would type it.
fn show(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program);
    let words = command.get_args().map(|argument| argument.to_string_lossy());
    let line = [name.into()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
    eprintln!("$ {line}");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn the_exit_code_of_what_failed_is_passed_on() {
        assert_eq!(run(&mut shell("exit 101")).unwrap_err().exit_code(), 101);
        assert_eq!(run(&mut shell("kill -9 $$")).unwrap_err().exit_code(), 1);
        assert_eq!(run(&mut Command::new("/nowhere/nothing")).unwrap_err().exit_code(), 1);
        run(&mut shell("true")).unwrap();
    }

    #[test]
    fn picked_lines_of_both_streams_are_kept_also_from_what_fails() {
        let mut kept = Vec::new();
        let mut command = shell("echo a1; echo b1; echo '  a2' >&2; printf 'a\\377'; exit 3");
        let failure = run_keeping(&mut command, |line| line.starts_with('a'), &mut kept);
        assert_eq!(failure.unwrap_err().exit_code(), 3);
        assert_eq!(kept, ["a1", "a\u{fffd}", "a2"]);
    }
}
