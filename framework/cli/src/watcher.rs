//! Progress bars and notes on stderr.

use std::collections::HashMap;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mobillm::Stop;
use mobillm::progress::{News, Observer, Phase, Watch};

use crate::STOPPED;

/// Shows the news of a run: bars on a terminal, a line for each epoch elsewhere, nothing if quiet.
pub(crate) struct Watcher {
    quiet: bool,
    bars: MultiProgress,
    shown: Mutex<HashMap<Phase, ProgressBar>>,
    stop: Stop,
}

impl Watcher {
    /// A watcher of what a Ctrl-C may simply end.
    pub(crate) fn new(quiet: bool) -> Self {
        let target = match quiet || !stderr().is_terminal() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bars = MultiProgress::with_draw_target(target);
        Self { quiet, bars, shown: Mutex::default(), stop: Stop::default() }
    }

    /// A watcher of what stops in order at Ctrl-C; a second Ctrl-C ends the process at once.
    pub(crate) fn of_run(quiet: bool) -> std::io::Result<Self> {
        let watcher = Self::new(quiet);
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let flag = watcher.stop.flag();
            signal_hook::flag::register_conditional_shutdown(signal, STOPPED.into(), flag.clone())?;
            signal_hook::flag::register(signal, flag)?;
        }
        Ok(watcher)
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { observer: self, stop: self.stop.clone() }
    }

    /// A bar of `total` units named `title`.
    pub(crate) fn bar(&self, title: &str, total: u64, unit: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(total));
        let template = match unit {
            "bytes" => {
                "{msg:>16} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}".to_owned()
            }
            // Too few to tell from one how long the next will take.
            "runs" => "{msg:>16} [{bar:30}] {pos}/{len} runs {elapsed}".to_owned(),
            unit => {
                format!("{{msg:>16}} [{{bar:30}}] {{pos}}/{{len}} {unit} {{elapsed}}, {{eta}} left")
            }
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(title.to_owned());
        bar
    }

    /// A line above the bars.
    pub(crate) fn line(&self, line: &str) {
        if self.quiet {
            return;
        }
        if self.bars.is_hidden() {
            say(line);
        } else {
            // On a terminal that was closed there is nobody to see it.
            let _ = self.bars.println(line);
        }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, HashMap<Phase, ProgressBar>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line on stderr. Whoever read it may be gone, which is no reason for a run to end.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

impl Observer for Watcher {
    fn news(&self, news: News) {
        match news {
            News::Begin { phase, total, done } => {
                let (title, unit) = match phase {
                    Phase::Tokenize => ("tokenizing", "rows"),
                    Phase::HeldOut => ("held-out rows", "rows"),
                    Phase::Train => ("training", "steps"),
                    Phase::Predict => ("predicting", "rows"),
                };
                let bar = self.bar(title, total, unit);
                bar.set_position(done);
                bar.reset_eta();
                self.shown().insert(phase, bar);
            }
            News::Advance { phase, done } => {
                if let Some(bar) = self.shown().get(&phase) {
                    bar.set_position(done);
                }
            }
            News::End { phase } => {
                if let Some(bar) = self.shown().remove(&phase) {
                    bar.finish_and_clear();
                }
            }
            News::Step { .. } => {}
            News::Epoch { epoch, metric, value } => {
                self.line(&format!("epoch {}: {metric} {value:.4}", epoch + 1));
            }
            News::Warning { message } => self.line(&format!("warning: {message}")),
            News::Note { message } => self.line(&message),
        }
    }
}
