//! The `[task]` table: which data, which columns, which answer.

use std::collections::BTreeSet;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::sample::Objective;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::prompt::PromptConfig;

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
    /// How a row is put to the model; without it, a text as it is, or a pair as the model's tokenizer
    /// joins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptConfig>,
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

impl TaskConfig {
    /// What a side network's output is for.
    pub fn objective(&self) -> Objective {
        match self.kind {
            TaskKind::Classification => Objective::Classification { classes: self.labels.len() },
            TaskKind::Regression => Objective::Regression,
        }
    }

    /// A target in the data's own unit, from one scaled to `range`. Without a range it is itself.
    pub fn unscale(&self, target: f32) -> f64 {
        let [low, high] = self.range.unwrap_or([0.0, 1.0]);
        low + f64::from(target) * (high - low)
    }

    /// Everything that is wrong with this table, without a look at the data. Pure.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = match self.kind {
            TaskKind::Classification => self.check_labels(),
            TaskKind::Regression => self.check_range(),
        };
        if !(0.01..=0.9).contains(&self.held_out_share) {
            let message = format!("{} is no share of the texts", self.held_out_share);
            found.push(Diagnostic::new("held_out_share", message).expected("0.01 to 0.9"));
        }
        if self.limit == Some(0) {
            found.push(
                Diagnostic::new("limit", "0 leaves no row to train on").expected("1 or more"),
            );
        }
        if let Some(prompt) = &self.prompt {
            let prompt = prompt.check(self.columns.pair.is_some(), &self.labels);
            found.extend(prompt.into_iter().map(|found| found.under("prompt")));
        }
        let Columns { text, pair, label } = &self.columns;
        if label == text || pair.as_ref() == Some(label) {
            let message = format!("column {label} is the text and the answer");
            found.push(Diagnostic::new("columns.label", message).expected("another column"));
        }
        if pair.as_ref() == Some(text) {
            let message = format!("column {text} is both texts of the pair");
            found.push(Diagnostic::new("columns.pair", message).expected("another column"));
        }
        found
    }

    fn check_labels(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.labels.len() < 2 {
            let message = format!("got {} for a classification", self.labels.len());
            let help = "list the labels as they stand in the data, or set `kind = \"regression\"`";
            found.push(Diagnostic::new("labels", message).expected("at least two").help(help));
        }
        let mut seen = BTreeSet::new();
        for (index, label) in self.labels.iter().enumerate() {
            if !seen.insert(label) {
                found.push(Diagnostic::new(
                    format!("labels[{index}]"),
                    format!("`{label}` is listed twice"),
                ));
            }
        }
        if let Some(positive) = self.positive.as_ref().filter(|label| !seen.contains(label)) {
            let message = format!("`{positive}` is not a label");
            found.push(Diagnostic::new("positive", message).expected(quoted(&self.labels)));
        }
        if self.range.is_some() {
            let message = "a classification has no targets to scale";
            found.push(Diagnostic::new("range", message).help("remove it"));
        }
        found
    }

    fn check_range(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let is_range = |[low, high]: [f64; 2]| low < high && (high - low).is_finite();
        if !self.range.is_some_and(is_range) {
            let message = match self.range {
                Some([low, high]) => format!("[{low}, {high}] is no range"),
                None => "a regression needs the range of its targets".to_owned(),
            };
            let expected = "the smallest and the largest target, such as [0.0, 5.0]";
            found.push(Diagnostic::new("range", message).expected(expected));
        }
        if !self.labels.is_empty() {
            let message = "a regression has no labels";
            found.push(Diagnostic::new("labels", message).help("remove them"));
        }
        if self.positive.is_some() {
            let message = "a regression has no positive label";
            found.push(Diagnostic::new("positive", message).help("remove it"));
        }
        found
    }
}

/// Names in a list for a message: "`a`, `b`".
pub(crate) fn quoted(names: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
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
    /// Apache Parquet, uncompressed or with Snappy, GZIP or Zstandard.
    Parquet,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{classification, regression};

    fn paths(config: &TaskConfig) -> Vec<String> {
        config.check().into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_sound_table_has_no_finding() {
        assert_eq!(classification().check(), []);
        assert_eq!(regression().check(), []);
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let mut config = classification();
        config.labels = vec!["ham".into(), "ham".into()];
        config.positive = Some("spam".into());
        config.range = Some([0.0, 1.0]);
        config.held_out_share = f64::NAN;
        config.limit = Some(0);
        config.columns.pair = Some(config.columns.text.clone());
        config.columns.label = config.columns.text.clone();
        let expected = [
            "labels[1]",
            "positive",
            "range",
            "held_out_share",
            "limit",
            "columns.label",
            "columns.pair",
        ];
        assert_eq!(paths(&config), expected);
    }

    #[test]
    fn a_regression_needs_a_range_and_nothing_of_a_classification() {
        let mut config = regression();
        config.labels = vec!["1".into()];
        config.positive = Some("1".into());
        for range in [None, Some([1.0, 1.0]), Some([f64::NAN, 1.0]), Some([0.0, f64::INFINITY])] {
            config.range = range;
            assert_eq!(paths(&config), ["range", "labels", "positive"]);
        }
    }

    #[test]
    fn a_target_comes_back_in_its_own_unit() {
        assert_eq!(regression().unscale(0.5), 2.5);
    }
}
