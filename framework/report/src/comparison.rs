//! compare.json: what was run, and what came of it, versioned.

use std::fs;
use std::path::Path;

use mobillm::run::file::{replace, replace_json};
use mobillm::run::summary::Summary;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ReportError;
use crate::figures::Figures;
use crate::machine::Machine;
use crate::{html, table};

/// The version of compare.json.
pub const FORMAT: u32 = 1;
const JSON: &str = "compare.json";
const HTML: &str = "report.html";

/// Variants compared on the same work. It is what compare.json holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Recorded")]
pub struct Comparison {
    /// [`FORMAT`].
    pub format: u32,
    /// The machine that everything ran on.
    pub machine: Machine,
    /// The score that seconds and bytes are counted to.
    pub target: Target,
    /// The variants. The others' differences are to the first.
    pub variants: Vec<Variant>,
    /// What the runs have come to.
    pub figures: Figures,
}

/// What of compare.json is read: the figures are a function of it.
#[derive(Deserialize)]
struct Recorded {
    machine: Machine,
    target: Target,
    variants: Vec<Variant>,
}

/// One variant and its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What it is called, different from all others.
    pub name: String,
    /// Its config, with all defaults filled in.
    pub config: Value,
    /// Its runs, each with a seed of its own.
    pub runs: Vec<SeedRun>,
}

/// The run of one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRun {
    /// The seed. Runs of one seed saw the same rows in the same order, whatever their variant.
    pub seed: u64,
    /// What came of it.
    pub outcome: Outcome,
}

impl SeedRun {
    fn refuse_what_is_not_finite(&mut self) {
        let Outcome::Finished(summary) = &self.outcome else { return };
        // JSON has no such numbers: what is read back is then something else, or nothing.
        let read_back = serde_json::to_value(summary).and_then(serde_json::from_value::<Summary>);
        if !read_back.is_ok_and(|read_back| read_back == **summary) {
            let reason =
                "a figure of its summary is not a finite number; the server has sent it so, or \
                          a plugin has measured it so"
                    .to_owned();
            self.outcome = Outcome::Failed { reason };
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its figures.
    Finished(Box<Summary>),
    /// It has none.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The score that seconds and bytes are counted to, in the main metric as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This score; finite.
    Value(f64),
    /// The mean final score of the first variant less some points; half a point by default.
    BelowFirst {
        /// Hundredths of the metric: percentage points of an accuracy.
        points: f64,
    },
}

impl Default for Target {
    fn default() -> Self {
        Self::BelowFirst { points: 0.5 }
    }
}

impl From<Recorded> for Comparison {
    fn from(recorded: Recorded) -> Self {
        Self::new(recorded.variants, recorded.target, recorded.machine)
    }
}

impl Comparison {
    /// Works the figures out. The order of a variant's runs does not matter. A run with a figure that is
    /// no finite number counts as failed: compare.json could not hold it.
    pub fn new(mut variants: Vec<Variant>, target: Target, machine: Machine) -> Self {
        for variant in &mut variants {
            variant.runs.iter_mut().for_each(SeedRun::refuse_what_is_not_finite);
            variant.runs.sort_by_key(|run| run.seed);
        }
        let figures = Figures::of(&variants, target);
        Self { format: FORMAT, machine, target, variants, figures }
    }

    /// The figures for a terminal of 100 columns.
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// The report: one HTML file that needs no other.
    pub fn html(&self) -> String {
        html::page(self).into_string()
    }

    /// Writes report.html and compare.json into `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// If one cannot be written; what was there before then still is.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        fs::create_dir_all(folder)
            .map_err(|source| ReportError::Folder { path: folder.to_owned(), source })?;
        replace(&folder.join(HTML), self.html().as_bytes())?;
        Ok(replace_json(&folder.join(JSON), self)?)
    }

    /// Reads a compare.json of this or an earlier version.
    ///
    /// # Errors
    /// If it cannot be read, is of a later version, or is no comparison.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let json =
            fs::read(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        let problem = |source| ReportError::Json { path: path.to_owned(), source };
        // A later version may differ in anything but its number.
        let Version { format } = serde_json::from_slice(&json).map_err(problem)?;
        if format > FORMAT {
            return Err(ReportError::Format { path: path.to_owned(), found: format });
        }
        serde_json::from_slice(&json).map_err(problem)
    }
}
