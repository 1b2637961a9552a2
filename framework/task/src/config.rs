//! The `[task]` table: which data, which columns, which answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is learnt and from which rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// A name for reports.
    pub name: String,
    /// What the answer is.
    #[serde(default)]
    pub kind: TaskKind,
    /// Rows to train on: a file relative to this config, or `pull:NAME`.
    pub train: String,
    /// Rows held out for evaluation; without it a share of `train` is held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// Share of distinct texts that are held out of `train` when there is no `held_out` file.
    #[serde(default = "default_held_out_share")]
    #[schemars(range(min = 0.01, max = 0.9))]
    pub held_out_share: f64,
    /// Seed of that split.
    #[serde(default)]
    pub split_seed: u64,
    /// The files' format; without it their extension decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whether the first row of a CSV or TSV file names the columns.
    #[serde(default = "default_header")]
    pub header: bool,
    /// Which column holds what.
    pub columns: Columns,
    /// The labels as they stand in the data; their order is the order of the classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The label whose F1 is reported beside the accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
    /// For a regression: the smallest and largest target, scaled to 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Use only this many training rows, in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
}

fn default_held_out_share() -> f64 {
    0.2
}

fn default_header() -> bool {
    true
}

/// What the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// One of `labels`.
    #[default]
    Classification,
    /// A number.
    Regression,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated, quoted with `"`.
    Csv,
    /// Tab-separated, never quoted.
    Tsv,
}

/// Which column holds what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The text.
    pub text: Column,
    /// The second text of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Column>,
    /// The label or target.
    pub label: Column,
}

/// A column by name, or by number (from 0) in a file without a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Column {
    /// By its name in the header.
    Name(String),
    /// By its number, from 0.
    Index(usize),
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Index(index) => write!(f, "number {index}"),
        }
    }
}
