//! A batch that has passed its checks, as an engine wants it.

use std::borrow::Cow;
use std::ops::Range;

use mobillm_core::activations::ActivationBatch;
use mobillm_core::backbone::Pooling;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::sample::Objective;
use mobillm_core::side_network::SideNetworkError;

use crate::blueprint::{Blueprint, Training};
use crate::network::Network;

/// The rows of a batch that enter the output, sample after sample.
///
/// Adapters do not mix tokens: of their rows, those that pooling drops need not be computed at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PooledRows {
    ranges: Vec<Range<usize>>,
}

impl PooledRows {
    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.ranges.len()
    }

    /// How many rows all samples have together.
    pub fn rows(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    /// For each sample, its rows among those that [`gather`](Self::gather) returns. None is empty.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.ranges.iter().scan(0, |start, range| {
            let end = *start + range.len();
            Some(std::mem::replace(start, end)..end)
        })
    }

    /// The rows of `tap`, `[rows, hidden]`, each `hidden` wide; borrowed where all of them enter.
    pub fn gather<'a>(&self, tap: &'a [f32], hidden: usize) -> Cow<'a, [f32]> {
        if self.rows() * hidden == tap.len() {
            return Cow::Borrowed(tap);
        }
        let rows = self.ranges.iter().map(|range| &tap[range.start * hidden..range.end * hidden]);
        Cow::Owned(rows.collect::<Vec<_>>().concat())
    }
}

/// What the outputs should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Cross-entropy of `softmax(own + output)`, mean over the samples.
    Classes {
        /// The class of each sample, below the number of outputs.
        classes: Vec<u32>,
        /// The device's own logits, `[samples, outputs]`: zeros where the output stands alone.
        own: Vec<f32>,
    },
    /// The outputs themselves, `[samples, outputs]`; squared error, summed over the outputs, mean over
    /// the samples.
    Values(Vec<f32>),
}

impl Blueprint {
    /// The rows of `batch` that enter the output.
    ///
    /// # Errors
    /// If the batch is not one of these taps and this width, or a sample has no rows.
    pub fn rows(&self, batch: &ActivationBatch) -> Result<PooledRows, SideNetworkError> {
        if (batch.taps(), batch.hidden()) != (self.taps.len(), self.hidden) {
            return Err(refused(format!(
                "{} taps of width {}; expected {} (layers {:?}) of width {}",
                batch.taps(),
                batch.hidden(),
                self.taps.len(),
                self.taps,
                self.hidden
            )));
        }
        let layout = batch.layout();
        if layout.samples() == 0 {
            return Err(refused("no samples; expected at least one".to_owned()));
        }
        let pooled = |sample| {
            let rows = layout.range(sample);
            if rows.is_empty() {
                return Err(refused(format!("sample {sample} has no rows; expected at least one")));
            }
            Ok(match self.architecture.network() {
                Network::AdapterChain(_) => self.pooled(rows),
                Network::TokenPooling(_) => rows,
            })
        };
        let ranges = (0..layout.samples()).map(pooled).collect::<Result<_, _>>()?;
        Ok(PooledRows { ranges })
    }

    /// Those of a sample's `rows` whose mean the backbone's own pooling takes.
    pub fn pooled(&self, rows: Range<usize>) -> Range<usize> {
        match self.pooling {
            Pooling::Mean => rows,
            Pooling::FirstToken => rows.start..rows.end.min(rows.start + 1),
            Pooling::LastToken => rows.start.max(rows.end.saturating_sub(1))..rows.end,
        }
    }

    /// What the outputs of `samples` samples should be, by their `supervision`, which must be what
    /// `training` says.
    ///
    /// # Errors
    /// If there is not one for each sample, or one is of another kind, of another width, out of range
    /// or not finite.
    pub fn targets(
        &self,
        training: &Training,
        samples: usize,
        supervision: &[Supervision],
    ) -> Result<Targets, SideNetworkError> {
        if supervision.len() != samples {
            let given = supervision.len();
            return Err(refused(format!("{given} targets for {samples} samples")));
        }
        let outputs = self.objective.outputs();
        let of_classes = matches!(self.objective, Objective::Classification { .. });
        let is_class = |class: u32| of_classes && (class as usize) < outputs;
        let fits = |row: &[f32]| row.len() == outputs && row.iter().all(|value| value.is_finite());
        let (mut classes, mut values) = (Vec::new(), Vec::with_capacity(samples * outputs));
        for (sample, given) in supervision.iter().enumerate() {
            let mismatch = || self.mismatch(training.supervision, sample, given);
            match given {
                other if other.kind() != training.supervision => return Err(mismatch()),
                Supervision::Label(class) if is_class(*class) => {
                    classes.push(*class);
                    values.resize(values.len() + outputs, 0.0);
                }
                Supervision::LabelAndOwn(class, own) if is_class(*class) && fits(own) => {
                    classes.push(*class);
                    values.extend_from_slice(own);
                }
                Supervision::Value(value) if !of_classes && value.is_finite() => {
                    values.push(*value)
                }
                Supervision::Difference(difference) if fits(difference) => {
                    values.extend_from_slice(difference);
                }
                _ => return Err(mismatch()),
            }
        }
        // they are of one kind, so that all have a class or none has
        Ok(match classes.is_empty() {
            true => Targets::Values(values),
            false => Targets::Classes { classes, own: values },
        })
    }

    fn mismatch(
        &self,
        supervision: SupervisionKind,
        sample: usize,
        given: &Supervision,
    ) -> SideNetworkError {
        let outputs = self.objective.outputs();
        let expected = match (supervision, self.objective) {
            (SupervisionKind::Truth, Objective::Regression) => "a finite value".to_owned(),
            (SupervisionKind::Truth, _) => format!("a label below {outputs}"),
            (SupervisionKind::Difference, _) => format!("a difference of {outputs} finite numbers"),
            _ => format!("a label below {outputs} with {outputs} finite logits"),
        };
        let given = match given {
            Supervision::Difference(difference) => {
                format!("a difference of {}", numbers(difference))
            }
            Supervision::LabelAndOwn(class, own) => format!("label {class} with {}", numbers(own)),
            short => format!("{short:?}"),
        };
        refused(format!("the target of sample {sample} is {given}; expected {expected}"))
    }
}

/// How many they are, and the first that is none.
fn numbers(row: &[f32]) -> String {
    let wrong = row.iter().position(|value| !value.is_finite());
    let wrong = wrong.map(|at| format!(", {} at {at}", row[at])).unwrap_or_default();
    format!("{} numbers{wrong}", row.len())
}

fn refused(problem: String) -> SideNetworkError {
    SideNetworkError::Batch { problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::blueprint::tests::{blueprint, context};
    use crate::network::Projection;
    use mobillm_core::activations::Layout;

    fn batch(counts: &[usize]) -> ActivationBatch {
        let layout = Layout::from_counts(counts.iter().copied());
        let taps = vec![(0..layout.rows() * 8).map(|value| value as f32).collect(); 2];
        ActivationBatch::new(layout, 8, taps).unwrap()
    }

    #[test]
    fn pooling_decides_which_rows_enter() {
        let batch = batch(&[2, 3]);
        let gathered = |pooling| {
            let rows = Blueprint { pooling, ..blueprint() }.rows(&batch).unwrap();
            let values = rows.gather(batch.tap(0), 8);
            let firsts: Vec<f32> = values.iter().step_by(8).map(|value| value / 8.0).collect();
            (firsts, rows.ranges().collect::<Vec<_>>())
        };
        assert_eq!(gathered(Pooling::Mean), (vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![0..2, 2..5]));
        assert_eq!(gathered(Pooling::FirstToken), (vec![0.0, 2.0], vec![0..1, 1..2]));
        assert_eq!(gathered(Pooling::LastToken), (vec![1.0, 4.0], vec![0..1, 1..2]));
    }

    #[test]
    fn pooling_over_tokens_takes_all_rows() {
        let architecture = Architecture::ParallelPooling(Projection::default());
        for pooling in [Pooling::Mean, Pooling::FirstToken, Pooling::LastToken] {
            let blueprint = Blueprint { architecture, pooling, ..blueprint() };
            let rows = blueprint.rows(&batch(&[2, 3])).unwrap();
            assert_eq!(rows.ranges().collect::<Vec<_>>(), [0..2, 2..5]);
            assert!(blueprint.pooled(4..4).is_empty());
        }
    }

    #[test]
    fn a_batch_that_does_not_fit_is_told_why() {
        let error = blueprint().rows(&batch(&[1, 0])).unwrap_err().to_string();
        assert_eq!(error, "batch: sample 1 has no rows; expected at least one");
        assert!(blueprint().rows(&batch(&[])).is_err());
        let narrow = Blueprint { hidden: 4, ..blueprint() };
        let error = narrow.rows(&batch(&[1])).unwrap_err().to_string();
        assert_eq!(error, "batch: 2 taps of width 8; expected 2 (layers [2, 5]) of width 4");
    }

    /// What `given`, the target of sample 1, becomes where `supervision` is what is trained on.
    fn targets(
        objective: Objective,
        supervision: SupervisionKind,
        given: [Supervision; 2],
    ) -> Result<Targets, String> {
        let blueprint = Blueprint { objective, ..blueprint() };
        let training = Training { supervision, ..Training::new(&context()) };
        blueprint.targets(&training, 2, &given).map_err(|error| error.to_string())
    }

    const CLASSES: Objective = Objective::Classification { classes: 3 };

    #[test]
    fn targets_are_of_the_objective_and_of_what_is_trained_on() {
        use SupervisionKind::{Difference, Truth, TruthAndOwn};
        let labels = [Supervision::Label(0), Supervision::Label(2)];
        let alone = Targets::Classes { classes: vec![0, 2], own: vec![0.0; 6] };
        assert_eq!(targets(CLASSES, Truth, labels), Ok(alone));
        let own =
            [0, 2].map(|class| Supervision::LabelAndOwn(class, vec![0.5, -1.0, class as f32]));
        let own = targets(CLASSES, TruthAndOwn, own);
        let logits = vec![0.5, -1.0, 0.0, 0.5, -1.0, 2.0];
        assert_eq!(own, Ok(Targets::Classes { classes: vec![0, 2], own: logits }));
        let values = [Supervision::Value(0.5), Supervision::Value(-1.0)];
        let wanted = Targets::Values(vec![0.5, -1.0]);
        assert_eq!(targets(Objective::Regression, Truth, values), Ok(wanted.clone()));
        let differences = [0.5, -1.0].map(|value| Supervision::Difference(vec![value]));
        assert_eq!(targets(Objective::Regression, Difference, differences), Ok(wanted));
        let wide = [1.0, 2.0].map(|value| Supervision::Difference(vec![value, 0.0, -value]));
        let wanted = Targets::Values(vec![1.0, 0.0, -1.0, 2.0, 0.0, -2.0]);
        assert_eq!(targets(CLASSES, Difference, wide), Ok(wanted));
    }

    #[test]
    fn a_target_that_does_not_fit_is_told_with_its_sample() {
        use Supervision::{Difference, Label, LabelAndOwn, Value};
        let refuses = |objective, good: Supervision, bad: Supervision, told: &str| {
            let error = targets(objective, good.kind(), [good, bad]).unwrap_err();
            assert_eq!(error, format!("batch: the target of sample 1 is {told}"));
        };
        let classes = |bad, told: &str| refuses(CLASSES, Label(0), bad, told);
        classes(Label(3), "Label(3); expected a label below 3");
        classes(Value(0.5), "Value(0.5); expected a label below 3");
        classes(Difference(vec![0.0; 3]), "a difference of 3 numbers; expected a label below 3");
        let values = |bad, told: &str| refuses(Objective::Regression, Value(0.0), bad, told);
        values(Value(f32::NAN), "Value(NaN); expected a finite value");
        values(Label(0), "Label(0); expected a finite value");
        let differences = |bad, told: &str| {
            let expected = format!("{told}; expected a difference of 3 finite numbers");
            refuses(CLASSES, Difference(vec![0.0; 3]), bad, &expected);
        };
        differences(Label(0), "Label(0)");
        differences(Difference(vec![0.0; 2]), "a difference of 2 numbers");
        let infinite = vec![0.0, f32::INFINITY, 0.0];
        differences(Difference(infinite.clone()), "a difference of 3 numbers, inf at 1");
        let with_own = |bad, told: &str| {
            let expected = format!("{told}; expected a label below 3 with 3 finite logits");
            refuses(CLASSES, LabelAndOwn(0, vec![0.0; 3]), bad, &expected);
        };
        with_own(Label(0), "Label(0)");
        with_own(LabelAndOwn(3, vec![0.0; 3]), "label 3 with 3 numbers");
        with_own(LabelAndOwn(2, vec![0.0]), "label 2 with 1 numbers");
        with_own(LabelAndOwn(2, infinite), "label 2 with 3 numbers, inf at 1");
    }

    #[test]
    fn there_is_one_target_for_each_sample() {
        let training = Training::new(&context());
        let error = blueprint().targets(&training, 2, &[Supervision::Label(0)]).unwrap_err();
        assert_eq!(error.to_string(), "batch: 1 targets for 2 samples");
    }
}
