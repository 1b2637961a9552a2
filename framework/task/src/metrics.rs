//! How good outputs are.
//!
//! Every figure is defined for every input: what would be 0/0 (the F1 of a label that nobody
//! predicted and nothing has, the correlation of constant predictions) has a value that its
//! documentation states, and is never NaN.

mod classification;
mod regression;

use mobillm_core::sample::Truth;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{TaskConfig, TaskKind};

pub use classification::{ClassificationScores, LabelScore};
pub use regression::RegressionScores;

/// The scores of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Scores {
    /// Of a classification.
    Classification(ClassificationScores),
    /// Of a regression.
    Regression(RegressionScores),
}

/// Why outputs cannot be scored.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ScoreError {
    /// There is nothing to score.
    #[error("there is no sample to score")]
    Empty,
    /// The outputs are not those of the samples.
    #[error("{samples} samples need {expected} outputs, got {got}")]
    Outputs {
        /// Samples to score.
        samples: usize,
        /// Outputs that there should be.
        expected: usize,
        /// Outputs that there are.
        got: usize,
    },
    /// An output is not a number.
    #[error("sample {sample}: the output is {value}; the side network is damaged or has diverged")]
    NotFinite {
        /// The sample, from 0.
        sample: usize,
        /// The output.
        value: f32,
    },
    /// A truth is not of this task.
    #[error("sample {sample}: {truth:?} is no truth of this task")]
    Truth {
        /// The sample, from 0.
        sample: usize,
        /// Its truth.
        truth: Truth,
    },
}

impl Scores {
    /// Scores `outputs`, `[samples, objective.outputs()]` row after row, against `truths`.
    ///
    /// # Errors
    /// If there are no samples, if outputs and truths do not fit together, or if an output is not
    /// finite.
    ///
    /// ```
    /// # use mobillm_task::{Scores, TaskConfig};
    /// use mobillm_core::sample::Truth;
    /// # let task: TaskConfig = serde_json::from_str(r#"{"name": "mood", "train": "mood.csv",
    /// #     "columns": {"text": "text", "label": "label"}, "labels": ["bad", "good"]}"#)?;
    ///
    /// // Two logits for each of three samples, of a task with the labels "bad" and "good".
    /// let outputs = [2.0, -1.0, 0.5, 0.7, 0.1, 0.0];
    /// let truths = [Truth::Class(0), Truth::Class(1), Truth::Class(1)];
    /// let scores = Scores::of(&task, &truths, &outputs)?;
    /// assert_eq!(scores.main(), ("accuracy", 2.0 / 3.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(task: &TaskConfig, truths: &[Truth], outputs: &[f32]) -> Result<Self, ScoreError> {
        let width = task.objective().outputs();
        let (samples, got) = (truths.len(), outputs.len());
        if samples == 0 {
            return Err(ScoreError::Empty);
        }
        if got != samples * width {
            return Err(ScoreError::Outputs { samples, expected: samples * width, got });
        }
        if let Some(at) = outputs.iter().position(|output| !output.is_finite()) {
            return Err(ScoreError::NotFinite { sample: at / width, value: outputs[at] });
        }
        match task.kind {
            TaskKind::Classification => {
                ClassificationScores::of(task, truths, outputs).map(Self::Classification)
            }
            TaskKind::Regression => {
                RegressionScores::of(task, truths, outputs).map(Self::Regression)
            }
        }
    }

    /// The figure that a run is judged by, with its name: `accuracy` of a classification, `pearson`
    /// of a regression. Larger is better.
    pub fn main(&self) -> (&'static str, f64) {
        match self {
            Self::Classification(scores) => ("accuracy", scores.accuracy),
            Self::Regression(scores) => ("pearson", scores.pearson),
        }
    }

    /// The F1 of `label` in a classification; `None` if nothing has or was given that label.
    pub fn f1(&self, label: &str) -> Option<f64> {
        match self {
            Self::Classification(scores) => scores.f1(label),
            Self::Regression(_) => None,
        }
    }

    /// The macro F1 of a classification.
    pub fn macro_f1(&self) -> Option<f64> {
        match self {
            Self::Classification(scores) => Some(scores.macro_f1),
            Self::Regression(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{classification, regression};

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = |truths: &[Truth], outputs: &[f32]| {
            Scores::of(&classification(), truths, outputs).unwrap_err()
        };
        assert_eq!(of(&[], &[]), ScoreError::Empty);
        assert_eq!(
            of(&[Truth::Class(0)], &[0.0]),
            ScoreError::Outputs { samples: 1, expected: 2, got: 1 }
        );
        assert!(matches!(
            of(&[Truth::Class(0), Truth::Class(1)], &[0.0, 1.0, 0.0, f32::NAN]),
            ScoreError::NotFinite { sample: 1, .. }
        ));
        for truth in [Truth::Class(2), Truth::Value(0.0)] {
            assert_eq!(of(&[truth], &[0.0, 1.0]), ScoreError::Truth { sample: 0, truth });
        }
        let truth = Truth::Class(0);
        let error = Scores::of(&regression(), &[truth], &[0.0]).unwrap_err();
        assert_eq!(error, ScoreError::Truth { sample: 0, truth });
    }

    #[test]
    fn scores_are_written_with_their_kind() {
        let scores = Scores::of(&regression(), &[Truth::Value(0.5)], &[0.5]).unwrap();
        let json = serde_json::to_value(&scores).unwrap();
        assert_eq!(json["kind"], "regression");
        assert_eq!(serde_json::from_value::<Scores>(json).unwrap(), scores);
    }
}
