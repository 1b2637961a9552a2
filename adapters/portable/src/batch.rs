//! A batch that has passed its checks, as an engine wants it.

use std::borrow::Cow;
use std::ops::Range;

use mobillm_core::activations::ActivationBatch;
use mobillm_core::backbone::Pooling;
use mobillm_core::privacy::Supervision;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::SideNetworkError;

use crate::architecture::Architecture;
use crate::blueprint::Blueprint;

/// The rows of a batch that enter the output, sample after sample.
///
/// The adapters of `parallel-adapter` do not mix tokens: rows that pooling drops need not be
/// computed at all.
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

/// What the outputs should be, one for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Classes, below the number of outputs; cross-entropy, mean over the batch.
    Classes(Vec<u32>),
    /// Values; squared error, mean over the batch.
    Values(Vec<f32>),
}

impl Blueprint {
    /// The rows of `batch` that enter the output.
    ///
    /// # Errors
    /// If the batch is not one of these taps and this width, or a sample has no rows.
    pub fn rows(&self, batch: &ActivationBatch) -> Result<PooledRows, SideNetworkError> {
        let Architecture::ParallelAdapter { .. } = self.architecture;
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
            match self.pooling {
                _ if rows.is_empty() => {
                    Err(refused(format!("sample {sample} has no rows; expected at least one")))
                }
                Pooling::Mean => Ok(rows),
                Pooling::FirstToken => Ok(rows.start..rows.start + 1),
                Pooling::LastToken => Ok(rows.end - 1..rows.end),
            }
        };
        let ranges = (0..layout.samples()).map(pooled).collect::<Result<_, _>>()?;
        Ok(PooledRows { ranges })
    }

    /// What `samples` outputs should be, by their `supervision`.
    ///
    /// # Errors
    /// If there is not one for each sample, or one is of the wrong kind or out of range.
    pub fn targets(
        &self,
        samples: usize,
        supervision: &[Supervision],
    ) -> Result<Targets, SideNetworkError> {
        if supervision.len() != samples {
            let given = supervision.len();
            return Err(refused(format!("{given} targets for {samples} samples")));
        }
        let with_index = supervision.iter().enumerate();
        match self.objective {
            Objective::Classification { classes } => {
                let class = |(sample, given): (usize, &Supervision)| match *given {
                    Supervision::Label(class) if (class as usize) < classes => Ok(class),
                    _ => Err(mismatch(sample, given, &format!("a label below {classes}"))),
                };
                with_index.map(class).collect::<Result<_, _>>().map(Targets::Classes)
            }
            Objective::Regression => {
                let value = |(sample, given): (usize, &Supervision)| match *given {
                    Supervision::Value(value) if value.is_finite() => Ok(value),
                    _ => Err(mismatch(sample, given, "a finite value")),
                };
                with_index.map(value).collect::<Result<_, _>>().map(Targets::Values)
            }
        }
    }
}

fn refused(problem: String) -> SideNetworkError {
    SideNetworkError::Batch { problem }
}

fn mismatch(sample: usize, given: &Supervision, expected: &str) -> SideNetworkError {
    refused(format!("the target of sample {sample} is {given:?}; expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::blueprint;
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
    fn a_batch_that_does_not_fit_is_told_why() {
        let error = blueprint().rows(&batch(&[1, 0])).unwrap_err().to_string();
        assert_eq!(error, "batch: sample 1 has no rows; expected at least one");
        assert!(blueprint().rows(&batch(&[])).is_err());
        let narrow = Blueprint { hidden: 4, ..blueprint() };
        let error = narrow.rows(&batch(&[1])).unwrap_err().to_string();
        assert_eq!(error, "batch: 2 taps of width 8; expected 2 (layers [2, 5]) of width 4");
    }

    #[test]
    fn targets_are_of_the_objective() {
        use Supervision::{Label, Value};
        let classes = blueprint();
        let labels = classes.targets(2, &[Label(0), Label(2)]).unwrap();
        assert_eq!(labels, Targets::Classes(vec![0, 2]));
        for wrong in [Label(3), Value(0.5)] {
            let error = classes.targets(1, &[wrong]).unwrap_err().to_string();
            assert!(error.ends_with("expected a label below 3"), "{error}");
        }
        assert!(classes.targets(2, &[Label(0)]).is_err());
        let value = Blueprint { objective: Objective::Regression, ..classes };
        assert_eq!(value.targets(1, &[Value(0.5)]).unwrap(), Targets::Values(vec![0.5]));
        assert!(value.targets(1, &[Value(f32::NAN)]).is_err());
        assert!(value.targets(1, &[Label(0)]).is_err());
    }
}
