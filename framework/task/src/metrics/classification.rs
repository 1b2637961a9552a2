//! Accuracy, F1 and who was taken for whom.

use mobillm_core::sample::Truth;
use serde::{Deserialize, Serialize};

use super::ScoreError;
use crate::config::TaskConfig;

/// The scores of a classification. The predicted class is the one with the largest output, the first
/// of them if several are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationScores {
    /// Samples that were scored.
    pub samples: usize,
    /// Share of the samples whose predicted class is the true one.
    pub accuracy: f64,
    /// Mean of the F1 of all labels that have one, each label counting the same.
    pub macro_f1: f64,
    /// Each label, in the order of the config.
    pub labels: Vec<LabelScore>,
    /// How many samples of class `i` were predicted as class `j`: `confusion[i][j]`.
    pub confusion: Vec<Vec<usize>>,
}

/// The scores of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// Samples that have it.
    pub truths: usize,
    /// Samples that were predicted to have it.
    pub predictions: usize,
    /// 2 hits / (truths + predictions): the harmonic mean of precision and recall. `None` if no
    /// sample has the label and none was predicted to.
    pub f1: Option<f64>,
}

impl ClassificationScores {
    pub(super) fn of(
        task: &TaskConfig,
        truths: &[Truth],
        outputs: &[f32],
    ) -> Result<Self, ScoreError> {
        let classes = task.labels.len();
        let mut confusion = vec![vec![0; classes]; classes];
        for (sample, (&truth, outputs)) in truths.iter().zip(outputs.chunks(classes)).enumerate() {
            match truth {
                Truth::Class(class) if (class as usize) < classes => {
                    confusion[class as usize][largest(outputs)] += 1;
                }
                _ => return Err(ScoreError::Truth { sample, truth }),
            }
        }
        let labels: Vec<LabelScore> =
            (0..classes).map(|class| label_score(&task.labels[class], class, &confusion)).collect();
        let hits: usize = (0..classes).map(|class| confusion[class][class]).sum();
        let f1: Vec<f64> = labels.iter().filter_map(|label| label.f1).collect();
        Ok(Self {
            samples: truths.len(),
            accuracy: hits as f64 / truths.len() as f64,
            macro_f1: f1.iter().sum::<f64>() / f1.len() as f64,
            labels,
            confusion,
        })
    }

    /// The F1 of `label`; `None` if it is not a label, or has none.
    pub fn f1(&self, label: &str) -> Option<f64> {
        self.labels.iter().find(|score| score.label == label)?.f1
    }
}

fn label_score(label: &str, class: usize, confusion: &[Vec<usize>]) -> LabelScore {
    let truths: usize = confusion[class].iter().sum();
    let predictions: usize = confusion.iter().map(|row| row[class]).sum();
    let both = truths + predictions;
    let f1 = (both > 0).then(|| 2.0 * confusion[class][class] as f64 / both as f64);
    LabelScore { label: label.to_owned(), truths, predictions, f1 }
}

/// Where the largest output is, the first of equal ones.
fn largest(outputs: &[f32]) -> usize {
    let mut best = 0;
    for (class, output) in outputs.iter().enumerate() {
        if *output > outputs[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::classification;
    use proptest::prelude::*;

    fn task(classes: usize) -> TaskConfig {
        let labels = (0..classes).map(|class| class.to_string()).collect();
        TaskConfig { labels, ..classification() }
    }

    fn scores(classes: usize, pairs: &[(u32, u32)]) -> ClassificationScores {
        let truths: Vec<Truth> = pairs.iter().map(|&(truth, _)| Truth::Class(truth)).collect();
        let mut outputs = vec![0.0; pairs.len() * classes];
        for (sample, &(_, predicted)) in pairs.iter().enumerate() {
            outputs[sample * classes + predicted as usize] = 1.0;
        }
        ClassificationScores::of(&task(classes), &truths, &outputs).unwrap()
    }

    #[test]
    fn figures_worked_out_by_hand() {
        // Class 0: 2 hits of 3 truths and 2 predictions. Class 1: 1 hit of 1 truth and 2 predictions.
        // Class 2 is nowhere and does not count.
        let scores = scores(3, &[(0, 0), (0, 0), (0, 1), (1, 1)]);
        assert_eq!(scores.accuracy, 0.75);
        assert_eq!(scores.confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!(
            (scores.f1("0"), scores.f1("1"), scores.f1("2")),
            (Some(0.8), Some(2.0 / 3.0), None)
        );
        assert_eq!(scores.macro_f1, (0.8 + 2.0 / 3.0) / 2.0);
        assert_eq!(scores.f1("3"), None);
    }

    #[test]
    fn constant_predictions_have_an_f1_of_zero_for_the_rest() {
        let scores = scores(2, &[(0, 0), (1, 0)]);
        assert_eq!((scores.f1("0"), scores.f1("1")), (Some(2.0 / 3.0), Some(0.0)));
    }

    #[test]
    fn of_equal_outputs_the_first_wins() {
        assert_eq!(largest(&[-1.0, 3.0, 3.0]), 1);
    }

    proptest! {
        #[test]
        fn every_sample_is_counted_once(pairs in prop::collection::vec((0u32..4, 0u32..4), 1..50)) {
            let scores = scores(4, &pairs);
            prop_assert_eq!(scores.confusion.concat().iter().sum::<usize>(), pairs.len());
            let hits = pairs.iter().filter(|(truth, predicted)| truth == predicted).count();
            prop_assert_eq!(scores.accuracy, hits as f64 / pairs.len() as f64);
            prop_assert!((0.0..=1.0).contains(&scores.macro_f1));
        }

        #[test]
        fn the_truth_scores_one(truths in prop::collection::vec(0u32..3, 1..20)) {
            let pairs: Vec<_> = truths.iter().map(|&class| (class, class)).collect();
            let scores = scores(3, &pairs);
            prop_assert_eq!((scores.accuracy, scores.macro_f1), (1.0, 1.0));
        }
    }
}
