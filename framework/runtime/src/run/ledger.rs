//! The book of a run: one line of metrics.jsonl and a TensorBoard record per step.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use mobillm_wire::frame::Ack;
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::run::file::replace;
use crate::run::summary::ServerSummary;
use crate::run::tensorboard::EventFile;

/// One line of metrics.jsonl.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    step: u64,
    epoch: u64,
    samples: u32,
    loss: f32,
    learning_rate: f64,
    server_seconds: f64,
}

/// Writes what every step did.
pub struct Ledger {
    path: PathBuf,
    metrics: BufWriter<File>,
    events: EventFile,
    steps_per_epoch: u64,
    /// Lines so far, one for each step from 0.
    lines: u64,
    /// Sum over them.
    server_seconds: f64,
    /// Sum of the losses of each epoch's steps, and how many there are.
    losses: Vec<(f64, u64)>,
}

impl Ledger {
    /// Opens the book in `folder`. A crash may have cut the last line; what does not go on from the
    /// line before ends the book.
    ///
    /// # Errors
    /// If the files cannot be read or written.
    pub fn open(folder: &Path, steps_per_epoch: u64) -> Result<Self, RunError> {
        let path = folder.join("metrics.jsonl");
        let text = match path.exists() {
            true => fs::read_to_string(&path).map_err(RunError::file("read", &path))?,
            false => String::new(),
        };
        let mut lines = Vec::new();
        for line in text.lines() {
            match serde_json::from_str::<Line>(line) {
                Ok(line) if line.step == lines.len() as u64 => lines.push(line),
                _ => break,
            }
        }
        let events = EventFile::create(folder).map_err(RunError::file("write into", folder))?;
        let mut ledger = Self {
            metrics: rewrite(&path, &lines)?,
            path,
            events,
            steps_per_epoch,
            lines: 0,
            server_seconds: 0.0,
            losses: Vec::new(),
        };
        lines.iter().for_each(|line| ledger.count(line));
        Ok(ledger)
    }

    /// Steps that are written down.
    pub fn steps(&self) -> u64 {
        self.lines
    }

    /// What the server spent on them.
    pub fn server(&self) -> ServerSummary {
        ServerSummary { train_seconds: self.server_seconds, steps: self.lines }
    }

    /// Takes back what was written of step `next_step` and later ones, because the server trains
    /// them again.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn take_back(&mut self, next_step: u64) -> Result<(), RunError> {
        if self.lines <= next_step {
            return Ok(());
        }
        self.flush()?;
        let text = fs::read_to_string(&self.path).map_err(RunError::file("read", &self.path))?;
        let lines: Vec<Line> = text
            .lines()
            .take(next_step as usize)
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(|error| RunError::file("read", &self.path)(error.into()))?;
        self.metrics = rewrite(&self.path, &lines)?;
        (self.lines, self.server_seconds, self.losses) = (0, 0.0, Vec::new());
        lines.iter().for_each(|line| self.count(line));
        Ok(())
    }

    fn count(&mut self, line: &Line) {
        let epoch = line.epoch as usize;
        if self.losses.len() <= epoch {
            self.losses.resize(epoch + 1, (0.0, 0));
        }
        self.losses[epoch].0 += f64::from(line.loss);
        self.losses[epoch].1 += 1;
        self.lines += 1;
        self.server_seconds += line.server_seconds;
    }

    /// Writes down a trained step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn step(&mut self, ack: &Ack) -> Result<(), RunError> {
        let epoch = ack.step / self.steps_per_epoch;
        let line = Line {
            step: ack.step,
            epoch,
            samples: ack.samples,
            loss: ack.loss,
            learning_rate: ack.learning_rate,
            server_seconds: ack.seconds,
        };
        self.count(&line);
        let mut write = || {
            serde_json::to_writer(&mut self.metrics, &line)?;
            self.metrics.write_all(b"\n")?;
            let loss = f64::from(ack.loss);
            self.events.scalars(
                ack.step,
                &[("train/loss", loss), ("train/learning_rate", ack.learning_rate)],
            )
        };
        write().map_err(RunError::file("write", &self.path))
    }

    /// Writes down an evaluation after `step` steps.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn evaluation(&mut self, step: u64, metric: &str, value: f64) -> Result<(), RunError> {
        let tag = format!("eval/{metric}");
        self.events
            .scalars(step, &[(&tag, value)])
            .and_then(|()| self.events.flush())
            .and_then(|()| self.metrics.flush())
            .map_err(RunError::file("write", &self.path))
    }

    /// Mean loss over the steps of `epoch`.
    pub fn mean_loss(&self, epoch: u32) -> f64 {
        self.losses.get(epoch as usize).map_or(f64::NAN, |(sum, count)| sum / *count as f64)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.metrics
            .flush()
            .and_then(|()| self.events.flush())
            .map_err(RunError::file("write", &self.path))
    }
}

/// Replaces the book by `lines` and opens it for more.
fn rewrite(path: &Path, lines: &[Line]) -> Result<BufWriter<File>, RunError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)
            .map_err(|error| RunError::file("write", path)(error.into()))?;
        text.push(b'\n');
    }
    replace(path, &text)?;
    let file = OpenOptions::new().append(true).open(path);
    file.map(BufWriter::new).map_err(RunError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(step: u64, loss: f32) -> Ack {
        Ack { step, samples: 4, loss, learning_rate: 0.1, seconds: 0.01 }
    }

    #[test]
    fn a_resumed_run_takes_back_the_lines_of_steps_that_are_trained_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), 2).unwrap();
        for step in 0..4 {
            ledger.step(&ack(step, step as f32)).unwrap();
        }
        assert_eq!((ledger.mean_loss(0), ledger.mean_loss(1)), (0.5, 2.5));
        ledger.flush().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut torn = fs::read_to_string(&path).unwrap();
        torn.push_str("{\"step\":4,\"ep");
        fs::write(&path, torn).unwrap();
        let mut ledger = Ledger::open(folder.path(), 2).unwrap();
        assert_eq!(ledger.steps(), 4);
        ledger.take_back(3).unwrap();
        assert_eq!(ledger.steps(), 3);
        ledger.step(&ack(3, 7.0)).unwrap();
        ledger.flush().unwrap();
        let lines: Vec<Line> = fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.iter().map(|line| line.step).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(ledger.mean_loss(1), 4.5);
    }
}
