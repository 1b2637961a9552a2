//! What a look at the data says before anything is trained on it.

use std::collections::HashMap;
use std::path::Path;

use mobillm_core::sample::Truth;
use serde::{Deserialize, Serialize};

use crate::config::{TaskConfig, TaskKind};
use crate::rows::Row;

/// What was found in the files, and what each part is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// The file that is trained on.
    pub train_file: FileReport,
    /// The file that is held out, if it is one of its own.
    pub held_out_file: Option<FileReport>,
    /// The rows that are trained on.
    pub train: PartReport,
    /// The rows that are held out.
    pub held_out: PartReport,
    /// Held-out rows whose text is also trained on. Always 0 without a held-out file.
    pub leaked: usize,
    /// What somebody should know, in sentences.
    pub warnings: Vec<String>,
}

/// What was found in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Rows in it.
    pub rows: usize,
    /// Distinct texts; the two of a pair count as one.
    pub distinct: usize,
    /// Rows whose text was there before: `rows - distinct`.
    pub duplicates: usize,
    /// Distinct texts that are there with more than one answer.
    pub conflicting: usize,
    /// Whether it starts with a byte order mark, which was left out.
    pub byte_order_mark: bool,
}

/// What a part of the data is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartReport {
    /// Rows in it.
    pub rows: usize,
    /// Its answers.
    pub balance: Balance,
}

/// The answers of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// How many rows each label has, in the order of the config.
    Labels(Vec<LabelCount>),
    /// The targets of a regression, in the data's own unit.
    Targets {
        /// The smallest.
        smallest: f64,
        /// Their mean.
        mean: f64,
        /// The largest.
        largest: f64,
    },
}

/// How many rows a label has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Its rows.
    pub rows: usize,
}

impl DataReport {
    /// Adds what somebody should know about the other figures.
    pub(crate) fn warn(&mut self, train: &Path, held_out: Option<&Path>) {
        let mut found = self.train_file.warnings(train);
        if let (Some(path), Some(file)) = (held_out, &self.held_out_file) {
            found.extend(file.warnings(path));
        }
        if self.train_file.duplicates > 0 {
            found.push(format!(
                "rows that repeat an earlier text and are not trained on: {}",
                self.train_file.duplicates
            ));
        }
        if self.leaked > 0 {
            found.push(format!(
                "{} of {} held-out rows have a text that is also trained on: their score flatters",
                self.leaked, self.held_out.rows
            ));
        }
        for (part, report) in [("training", &self.train), ("held-out", &self.held_out)] {
            let Balance::Labels(counts) = &report.balance else { continue };
            for count in counts.iter().filter(|count| count.rows == 0) {
                found.push(format!("no {part} row has the label `{}`", count.label));
            }
        }
        self.warnings = found;
    }
}

impl Balance {
    /// Whether all rows have the same answer.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Labels(counts) => counts.iter().filter(|count| count.rows > 0).count() < 2,
            Self::Targets { smallest, largest, .. } => smallest == largest,
        }
    }
}

impl PartReport {
    pub(crate) fn new(config: &TaskConfig, rows: &[Row]) -> Self {
        let balance = match config.kind {
            TaskKind::Classification => {
                let mut counts: Vec<LabelCount> = config
                    .labels
                    .iter()
                    .map(|label| LabelCount { label: label.clone(), rows: 0 })
                    .collect();
                for row in rows {
                    if let Truth::Class(class) = row.truth {
                        counts[class as usize].rows += 1;
                    }
                }
                Balance::Labels(counts)
            }
            TaskKind::Regression => targets(config, rows),
        };
        Self { rows: rows.len(), balance }
    }
}

fn targets(config: &TaskConfig, rows: &[Row]) -> Balance {
    let targets = || {
        rows.iter().filter_map(|row| match row.truth {
            Truth::Value(value) => Some(config.unscale(value)),
            Truth::Class(_) => None,
        })
    };
    Balance::Targets {
        smallest: targets().fold(f64::INFINITY, f64::min),
        mean: targets().sum::<f64>() / targets().count() as f64,
        largest: targets().fold(f64::NEG_INFINITY, f64::max),
    }
}

impl FileReport {
    pub(crate) fn new(rows: &[Row], byte_order_mark: bool) -> Self {
        // For each text its first answer, and whether another followed.
        let mut texts: HashMap<_, (Truth, bool)> = HashMap::new();
        for row in rows {
            let (truth, conflict) = texts.entry(row.key()).or_insert((row.truth, false));
            *conflict |= *truth != row.truth;
        }
        Self {
            rows: rows.len(),
            distinct: texts.len(),
            duplicates: rows.len() - texts.len(),
            conflicting: texts.values().filter(|(_, conflict)| *conflict).count(),
            byte_order_mark,
        }
    }

    fn warnings(&self, path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        if self.byte_order_mark {
            found.push("it starts with a byte order mark, which is left out".to_owned());
        }
        if self.conflicting > 0 {
            found.push(format!("texts with more than one answer: {}", self.conflicting));
        }
        found.iter().map(|warning| format!("{}: {warning}", path.display())).collect()
    }
}
