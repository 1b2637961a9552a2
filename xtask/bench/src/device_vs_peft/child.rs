//! Child processes, their peak memory and what they say.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::Error;

/// Between two looks at a child, which take time from what it does.
const LOOK: Duration = Duration::from_millis(50);

/// What a child that has ended said and took.
pub struct Ended {
    /// Its standard output.
    pub output: String,
    /// Its peak resident memory in bytes.
    pub peak: u64,
}

/// How a child's life ended.
pub enum Outcome {
    /// With success.
    Ended(Ended),
    /// By this process, when its resident memory came to be more than it may be.
    TooLarge,
}

/// Runs `command`, hands it `input`, and looks at its memory until it ends or has more than `most` bytes.
///
/// # Errors
/// If it cannot be run or fails.
pub fn run(command: &mut Command, input: &str, most: u64) -> Result<Outcome, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let (mut stdin, stdout, stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // A child that fails early does not read its input; its status says so.
        scope.spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(input.as_bytes())));
        let output = scope.spawn(move || read(stdout));
        let complaint = scope.spawn(move || read(stderr));
        let peak = watch(&mut child, most)?;
        let status = child.wait()?;
        let text = |reader: thread::ScopedJoinHandle<'_, String>| reader.join().unwrap_or_default();
        let (output, complaint) = (text(output), text(complaint));
        match peak {
            None => Ok(Outcome::TooLarge),
            Some(peak) if status.success() => Ok(Outcome::Ended(Ended { output, peak })),
            Some(_) => {
                let lines: Vec<&str> = complaint.lines().rev().take(12).collect();
                let last = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
                Err(format!("{program} failed with {status}; it said last:\n{last}").into())
            }
        }
    })
}

fn read(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What could be read is what there is to tell.
        drop(from.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The peak resident memory of `child`, looked at until it ends; `None` if it was killed for having more
/// than `most`.
fn watch(child: &mut Child, most: u64) -> Result<Option<u64>, Error> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        // A process that has just ended has no memory any more.
        let text = fs::read_to_string(&status).unwrap_or_default();
        peak = peak.max(field(&text, "VmHWM:").unwrap_or(0));
        if field(&text, "VmRSS:").unwrap_or(0) > most {
            child.kill()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
    Ok(Some(peak))
}

/// A field of a process's status that is told in kB, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str, most: u64) -> Result<Outcome, Error> {
        run(Command::new("sh").args(["-c", script]), input, most)
    }

    #[test]
    fn what_a_child_says_and_takes_comes_back() {
        let Ok(Outcome::Ended(ended)) = shell("cat; sleep 0.2", "said", u64::MAX) else {
            panic!("it ends well");
        };
        assert_eq!(ended.output, "said");
        assert!(ended.peak > 100_000, "{}", ended.peak);
    }

    #[test]
    fn a_failure_is_told_and_a_large_child_is_stopped() {
        let error = shell("echo no >&2; exit 3", "", u64::MAX).err().unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no"), "{error}");
        assert!(matches!(shell("sleep 60", "", 1), Ok(Outcome::TooLarge)));
    }
}
