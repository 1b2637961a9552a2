//! Every variant with every seed, and what has come of it.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use mobillm::RunError;
use mobillm::run::lock;
use mobillm_report::{Comparison, Machine, Outcome, SeedRun, Target, Unit, Variant as Compared};

use super::interrupts::Interrupts;
use super::pair;
use super::variant::Variant;
use crate::CommandError;
use crate::watcher::Watcher;

/// The runs of a comparison.
pub(crate) struct Matrix {
    variants: Vec<Variant>,
    /// The variants again, with the runs that are over.
    compared: Vec<Compared>,
    seeds: Range<u64>,
    target: Target,
    machine: Machine,
    out: PathBuf,
    _lock: File,
}

/// One run: the number of its variant, and its seed.
type Cell = (usize, u64);

impl Matrix {
    /// `variants` with `seeds` seeds each, from that of the first one's config on: in every epoch of
    /// a seed all variants see the rows in one order. `out` is where it is all kept.
    ///
    /// # Errors
    /// If `out` cannot be made or another process has it.
    pub(crate) fn new(
        variants: Vec<Variant>,
        seeds: u64,
        target: Target,
        out: PathBuf,
    ) -> Result<Self, RunError> {
        let lock = lock(&out)?;
        let base = variants.first().map_or(0, Variant::seed);
        let compared = variants.iter().map(|variant| Compared {
            name: variant.name().to_owned(),
            config: variant.resolved(base),
            runs: Vec::new(),
        });
        let (compared, machine) = (compared.collect(), Machine::here());
        let seeds = base..base + seeds;
        Ok(Self { variants, compared, seeds, target, machine, out, _lock: lock })
    }

    /// Runs what is not finished, one run at a time, and writes the reports after each. A run that
    /// fails does not keep the others from being run.
    ///
    /// # Errors
    /// If it is stopped, after which it can be gone on with, or a report cannot be written.
    pub(crate) fn run(
        &mut self,
        interrupts: &Interrupts,
        watcher: &Watcher,
    ) -> Result<Comparison, CommandError> {
        let open = self.find_finished(watcher);
        let done: usize = self.compared.iter().map(|variant| variant.runs.len()).sum();
        let bar = watcher.bar("", (done + open.len()) as u64, "runs");
        bar.set_position(done as u64);
        bar.enable_steady_tick(Duration::from_millis(500));
        for cell in open {
            self.run_one(cell, interrupts, watcher, &bar)?;
            self.comparison().write(&self.out)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let comparison = self.comparison();
        comparison.write(&self.out)?;
        Ok(comparison)
    }

    /// Takes in what was finished before, and returns what was not: variants in turn, so that whatever
    /// the machine does in the meantime meets all of them.
    fn find_finished(&mut self, watcher: &Watcher) -> Vec<Cell> {
        let variants = 0..self.variants.len();
        let seeds = self.seeds.clone();
        let cells = seeds.flat_map(|seed| variants.clone().map(move |variant| (variant, seed)));
        let mut open = Vec::new();
        for cell in cells {
            match pair::finished(&self.folder(cell)) {
                Ok(Some(outcome)) => self.take(cell, outcome, ", finished before", watcher),
                Ok(None) => open.push(cell),
                Err(error) => {
                    watcher.line(&format!("{}: {error}; it is run again", self.title(cell)));
                    open.push(cell);
                }
            }
        }
        open
    }

    fn run_one(
        &mut self,
        cell: Cell,
        interrupts: &Interrupts,
        watcher: &Watcher,
        bar: &ProgressBar,
    ) -> Result<(), CommandError> {
        if interrupts.stop() {
            return Err(RunError::Stopped.into());
        }
        bar.set_message(self.title(cell));
        let (variant, seed) = cell;
        let outcome = match pair::run(&self.variants[variant], seed, &self.runs(), interrupts) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return Err(RunError::Stopped.into()),
            Err(error) => failed(&error),
        };
        self.take(cell, outcome, "", watcher);
        Ok(())
    }

    /// Takes in what has come of a run, and says it.
    fn take(&mut self, cell: Cell, outcome: Outcome, note: &str, watcher: &Watcher) {
        let title = self.title(cell);
        watcher.line(&match &outcome {
            Outcome::Finished(summary) => {
                let (eval, wall) = (&summary.eval, Unit::Seconds.show(summary.wall_seconds));
                format!("{title}: {} {:.4}, {wall}{note}", eval.metric, eval.after)
            }
            Outcome::Failed { reason } => {
                let folder = self.folder(cell);
                format!("{title}: failed: {reason}\nits logs are in {}", folder.display())
            }
        });
        let (variant, seed) = cell;
        self.compared[variant].runs.push(SeedRun { seed, outcome });
    }

    fn title(&self, (variant, seed): Cell) -> String {
        format!("{}, seed {seed}", self.variants[variant].name())
    }

    fn runs(&self) -> PathBuf {
        self.out.join("runs")
    }

    fn folder(&self, (variant, seed): Cell) -> PathBuf {
        pair::folder(&self.variants[variant], seed, &self.runs())
    }

    fn comparison(&self) -> Comparison {
        Comparison::new(self.compared.clone(), self.target, self.machine.clone())
    }
}

fn failed(error: &RunError) -> Outcome {
    Outcome::Failed { reason: error.to_string() }
}
