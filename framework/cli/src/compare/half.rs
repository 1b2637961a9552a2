//! Device or server as a child process.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mobillm::RunError;
use rustix::process::{Pid, Signal, kill_process};

use super::interrupts::Interrupts;
use crate::STOPPED;

/// Between two looks at a process.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// How long a process that was asked to stop may take: it ends what it computes and writes where it is.
const GRACE: Duration = Duration::from_secs(30);

/// What is shown of a log in which no error stands.
const LAST_LINES: usize = 5;

/// A running `mobillm device` or `mobillm server`. It does not outlive this value.
pub(super) struct Half<'a> {
    name: &'static str,
    /// What it writes to stderr.
    log: PathBuf,
    process: Child,
    asked_to_stop: bool,
    killed: bool,
    interrupts: &'a Interrupts,
}

impl<'a> Half<'a> {
    /// Starts `mobillm NAME` on `config` changed by `sets`, in the folder `NAME` of `folder`. What it
    /// says goes to `NAME.log` there.
    ///
    /// # Errors
    /// If the log cannot be written or the process not be started.
    pub(super) fn start(
        name: &'static str,
        config: &Path,
        sets: &[String],
        folder: &Path,
        interrupts: &'a Interrupts,
    ) -> Result<Self, RunError> {
        let program = std::env::current_exe().map_err(RunError::file("find", "this program"))?;
        let log = folder.join(format!("{name}.log"));
        let says = File::create(&log).map_err(RunError::file("write", &log))?;
        let process = Command::new(&program)
            .args([name, "--out"])
            .arg(folder.join(name))
            .args(sets.iter().map(|set| format!("--set={set}")))
            .arg("--")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(says)
            // A terminal's Ctrl-C goes to a whole group. It is this process's to pass on, once: the
            // second one would end the others before they have written where they are.
            .process_group(0)
            .spawn()
            .map_err(RunError::file("start", program))?;
        Ok(Self { name, log, process, asked_to_stop: false, killed: false, interrupts })
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// If the system does not say.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, RunError> {
        self.process.try_wait().map_err(RunError::file("wait for", self.name))
    }

    /// Whether it has ended for a reason of its own.
    ///
    /// # Errors
    /// If the system does not say.
    pub(super) fn has_failed(&mut self) -> Result<bool, RunError> {
        let is_own = |status: ExitStatus| match status.code() {
            Some(code) => code != 0 && code != i32::from(STOPPED),
            None => true,
        };
        Ok(!self.killed && self.ended()?.is_some_and(is_own))
    }

    /// Where it listens, once it has said so.
    pub(super) fn address(&self) -> Option<String> {
        let log = self.log();
        // The last line may be half of one.
        let (whole, _) = log.rsplit_once('\n')?;
        whole.lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned)
    }

    /// Asks it to stop in order, without waiting until it has.
    pub(super) fn ask_to_stop(&mut self) {
        if !self.asked_to_stop && matches!(self.process.try_wait(), Ok(None)) {
            // It may end at this moment; its number is still its own, for nobody has waited for it.
            let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        }
        self.asked_to_stop = true;
    }

    /// Waits until it has ended, for at most `patience`, and not for somebody in a hurry.
    ///
    /// # Errors
    /// If the system does not say whether it has ended.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<(), RunError> {
        let deadline = Instant::now() + patience;
        while self.ended()?.is_none()
            && Instant::now() < deadline
            && !self.interrupts.stop_at_once()
        {
            sleep(TICK);
        }
        Ok(())
    }

    /// Ends it if it has not ended: in order if it can, at once if somebody is in a hurry.
    ///
    /// # Errors
    /// If the system does not say whether it has ended.
    pub(super) fn end(&mut self) -> Result<(), RunError> {
        self.ask_to_stop();
        self.wait(GRACE)?;
        if self.ended()?.is_none() {
            self.killed = true;
            self.process
                .kill()
                .and_then(|()| self.process.wait())
                .map_err(RunError::file("end", self.name))?;
        }
        Ok(())
    }

    /// Why it failed, in its own words.
    pub(super) fn reason(&mut self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let words = match lines.iter().rposition(|line| line.starts_with("error: ")) {
            Some(error) => lines[error..].join("\n").replacen("error: ", "", 1),
            None => lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"),
        };
        // Who was killed had no time for words.
        match self.process.try_wait() {
            Ok(Some(status)) if status.code().is_none() => {
                format!("the {} ended by {status}; it said last: {words}", self.name)
            }
            _ => format!("{}: {words}", self.name),
        }
    }

    fn log(&self) -> String {
        match fs::read(&self.log) {
            Ok(log) => String::from_utf8_lossy(&log).into_owned(),
            Err(error) => format!("cannot read {}: {error}", self.log.display()),
        }
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        // Whoever needs to know that it failed has called it before.
        let _ = self.end();
    }
}
