//! Which rows make which step, and which rows go forward together.
//!
//! * An *epoch* is all training rows in an order of its own.
//! * A *step* is the next `batch` rows of that order: what the side network takes at once. The last
//!   step of an epoch may be smaller; no row is left out and none crosses into the next epoch.
//! * A *window* is `window` consecutive steps of one epoch. Its rows go forward sorted by length in
//!   *micro-batches*, because a batch is padded to its longest row. What goes forward together is
//!   bounded in rows and in tokens.
//!
//! All of it is a pure function of the seed, the lengths and the [`Sizes`], never of where a run
//! started or was interrupted.
//!
//! The first epoch's order is drawn over the rows; that of a later epoch is a [`shuffle`] of the first
//! one's. So whoever has been sent the first epoch knows the later ones from the seed, and needs no row
//! numbers: a server that keeps samples trains in the very order in which a device would send them.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use mobillm_task::schedule::{MicroBatch, Schedule, Sizes};
//!
//! let size = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
//! let micro_batch = MicroBatch { rows: size(3), tokens: size(64) };
//! let sizes = Sizes { batch: size(2), epochs: 3, window: size(2), micro_batch };
//! let lengths = vec![9, 4, 7, 5, 8]; // tokens of each of five rows
//! let schedule = Schedule::new(0, lengths, sizes);
//! assert_eq!((schedule.steps_per_epoch(), schedule.steps()), (3, 9));
//!
//! let window = schedule.window(0);
//! assert_eq!(window.steps, 0..2);
//! let forwarded: usize = window.micro_batches.iter().map(Vec::len).sum();
//! assert_eq!(forwarded, 4);
//! ```

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::permutation::permutation;

/// How many rows, steps and epochs belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of a step.
    pub batch: NonZeroUsize,
    /// How often every row is trained on.
    pub epochs: u64,
    /// Steps of a window.
    pub window: NonZeroUsize,
    /// What goes forward together.
    pub micro_batch: MicroBatch,
}

/// How large a forward pass may be, which bounds its memory whatever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicroBatch {
    /// Most rows.
    pub rows: NonZeroUsize,
    /// Most tokens, padding counted. A longer row goes alone.
    pub tokens: NonZeroUsize,
}

impl MicroBatch {
    /// `rows` by length (equal lengths in the order in which they come), cut into forward passes; `length`
    /// tells a row's tokens.
    pub fn cut(&self, mut rows: Vec<usize>, length: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
        rows.sort_by_key(|&row| length(row));
        let mut cut: Vec<Vec<usize>> = Vec::new();
        for row in rows {
            // The last row is the longest, to which the others are padded.
            let fits = |batch: &&mut Vec<usize>| {
                let rows = batch.len() + 1;
                rows <= self.rows.get() && rows.saturating_mul(length(row)) <= self.tokens.get()
            };
            match cut.last_mut().filter(fits) {
                Some(batch) => batch.push(row),
                None => cut.push(vec![row]),
            }
        }
        cut
    }
}

/// The order of a run's rows.
#[derive(Debug)]
pub struct Schedule {
    seed: u64,
    lengths: Vec<usize>,
    sizes: Sizes,
    /// The order that was asked for last, kept because the next question is mostly about the same
    /// epoch.
    latest: Mutex<Option<(u64, Arc<[usize]>)>>,
}

/// Consecutive steps of one epoch whose rows go forward together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its steps.
    pub steps: Range<u64>,
    /// The rows of these steps, sorted by length (equal lengths in the order of the steps) and cut.
    pub micro_batches: Vec<Vec<usize>>,
}

impl Schedule {
    /// The schedule of rows with `lengths` tokens each.
    pub fn new(seed: u64, lengths: Vec<usize>, sizes: Sizes) -> Self {
        Self { seed, lengths, sizes, latest: Mutex::new(None) }
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.lengths.len().div_ceil(self.sizes.batch.get()) as u64
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.sizes.epochs
    }

    /// The epoch of step `step`, from 0.
    ///
    /// # Panics
    /// If there are no rows, and so no steps.
    pub fn epoch_of_step(&self, step: u64) -> u64 {
        step / self.steps_per_epoch()
    }

    /// The rows of step `step`, in the order of training.
    ///
    /// # Panics
    /// If there are no rows, and so no steps.
    pub fn rows_of_step(&self, step: u64) -> Vec<usize> {
        self.rows_of_steps(step..step + 1)
    }

    /// Windows of one epoch.
    fn windows_per_epoch(&self) -> u64 {
        self.steps_per_epoch().div_ceil(self.sizes.window.get() as u64)
    }

    /// Windows of the whole run.
    pub fn windows(&self) -> u64 {
        self.windows_per_epoch() * self.sizes.epochs
    }

    /// The window of step `step`.
    ///
    /// # Panics
    /// If there are no rows, and so no steps.
    pub fn window_of_step(&self, step: u64) -> u64 {
        let within = step % self.steps_per_epoch() / self.sizes.window.get() as u64;
        self.epoch_of_step(step) * self.windows_per_epoch() + within
    }

    /// Window `window`.
    ///
    /// # Panics
    /// If there are no rows, and so no windows.
    pub fn window(&self, window: u64) -> Window {
        let (epoch, within) =
            (window / self.windows_per_epoch(), window % self.windows_per_epoch());
        let size = self.sizes.window.get() as u64;
        let first = epoch * self.steps_per_epoch();
        let end = (within * size + size).min(self.steps_per_epoch());
        let steps = first + within * size..first + end;
        let rows = self.rows_of_steps(steps.clone());
        let micro_batches = self.sizes.micro_batch.cut(rows, |row| self.lengths[row]);
        Window { steps, micro_batches }
    }

    /// Samples of one epoch.
    pub fn samples(&self) -> usize {
        self.lengths.len()
    }

    /// The rows of `steps`, which are of one epoch.
    fn rows_of_steps(&self, steps: Range<u64>) -> Vec<usize> {
        let epoch = self.epoch_of_step(steps.start);
        let first = epoch * self.steps_per_epoch();
        let batch = self.sizes.batch.get();
        let start = (steps.start - first) as usize * batch;
        let end = ((steps.end - first) as usize * batch).min(self.lengths.len());
        self.order(epoch)[start..end].to_vec()
    }

    fn order(&self, epoch: u64) -> Arc<[usize]> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((of, order)) if *of == epoch => Arc::clone(order),
            _ => {
                let rows = self.lengths.len();
                let first = permutation(b"mobillm rows    ", self.seed, 0, rows);
                let order: Arc<[usize]> =
                    shuffle(self.seed, epoch, rows).into_iter().map(|at| first[at]).collect();
                *latest = Some((epoch, Arc::clone(&order)));
                order
            }
        }
    }
}

/// The order of `epoch`, counted from 0, as places in the order of the first: the first epoch's own is
/// 0, 1, 2, ...
pub fn shuffle(seed: u64, epoch: u64, samples: usize) -> Vec<usize> {
    match epoch {
        0 => (0..samples).collect(),
        _ => permutation(b"mobillm epoch   ", seed, epoch, samples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule() -> impl Strategy<Value = Schedule> {
        let size = |most: usize| {
            (1..most).prop_map(|size| NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN))
        };
        let sizes = (size(9), 1u64..4, size(5), size(7), size(30)).prop_map(
            |(batch, epochs, window, rows, tokens)| Sizes {
                batch,
                epochs,
                window,
                micro_batch: MicroBatch { rows, tokens },
            },
        );
        (any::<u64>(), prop::collection::vec(1usize..6, 1..60), sizes)
            .prop_map(|(seed, lengths, sizes)| Schedule::new(seed, lengths, sizes))
    }

    fn sorted(mut rows: Vec<usize>) -> Vec<usize> {
        rows.sort_unstable();
        rows
    }

    proptest! {
        #[test]
        fn each_epoch_has_every_row_once(schedule in schedule()) {
            let all: Vec<usize> = (0..schedule.lengths.len()).collect();
            for epoch in 0..schedule.sizes.epochs {
                let first = epoch * schedule.steps_per_epoch();
                let steps = first..first + schedule.steps_per_epoch();
                let rows = steps.flat_map(|step| {
                    assert_eq!(schedule.epoch_of_step(step), epoch);
                    schedule.rows_of_step(step)
                });
                prop_assert_eq!(sorted(rows.collect()), all.clone());
            }
        }

        #[test]
        fn a_later_epoch_is_a_shuffle_of_the_first(schedule in schedule()) {
            let of_epoch = |epoch| -> Vec<usize> {
                let first = epoch * schedule.steps_per_epoch();
                let steps = first..first + schedule.steps_per_epoch();
                steps.flat_map(|step| schedule.rows_of_step(step)).collect()
            };
            let first = of_epoch(0);
            for epoch in 0..schedule.sizes.epochs {
                let places = shuffle(schedule.seed, epoch, schedule.samples());
                let rows: Vec<usize> = places.into_iter().map(|at| first[at]).collect();
                prop_assert_eq!(rows, of_epoch(epoch));
            }
        }

        #[test]
        fn only_the_last_step_of_an_epoch_is_smaller(schedule in schedule()) {
            let batch = schedule.sizes.batch.get();
            for step in 0..schedule.steps() {
                let rows = schedule.rows_of_step(step).len();
                let is_last = (step + 1) % schedule.steps_per_epoch() == 0;
                prop_assert!(rows == batch || (is_last && (1..batch).contains(&rows)));
            }
        }

        #[test]
        fn windows_follow_each_other_without_a_gap(schedule in schedule()) {
            let mut next = 0;
            for index in 0..schedule.windows() {
                let window = schedule.window(index);
                prop_assert_eq!(window.steps.start, next);
                prop_assert!(window.steps.clone().count() <= schedule.sizes.window.get());
                for step in window.steps.clone() {
                    prop_assert_eq!(schedule.window_of_step(step), index);
                }
                next = window.steps.end;
            }
            prop_assert_eq!(next, schedule.steps());
        }

        #[test]
        fn a_windows_micro_batches_are_its_steps_rows(schedule in schedule()) {
            for index in 0..schedule.windows() {
                let Window { steps, micro_batches } = schedule.window(index);
                let MicroBatch { rows, tokens } = schedule.sizes.micro_batch;
                let padded = |batch: &[usize], longest: usize| {
                    batch.len() <= rows.get() && batch.len() * longest <= tokens.get()
                };
                for (at, batch) in micro_batches.iter().enumerate() {
                    let longest = schedule.lengths[*batch.last().unwrap()];
                    prop_assert!(batch.len() == 1 || padded(batch, longest));
                    if let Some(next) = micro_batches.get(at + 1) {
                        let mut larger = batch.clone();
                        larger.push(next[0]);
                        prop_assert!(!padded(&larger, schedule.lengths[next[0]]), "it was cut early");
                    }
                }
                let forwarded = micro_batches.concat();
                prop_assert!(forwarded.is_sorted_by_key(|&row| schedule.lengths[row]));
                let trained: Vec<usize> =
                    steps.flat_map(|step| schedule.rows_of_step(step)).collect();
                prop_assert_eq!(sorted(forwarded), sorted(trained));
            }
        }

        #[test]
        fn it_does_not_matter_where_one_starts(schedule in schedule()) {
            let fresh =
                || Schedule::new(schedule.seed, schedule.lengths.clone(), schedule.sizes);
            for index in (0..schedule.windows()).rev() {
                prop_assert_eq!(fresh().window(index), schedule.window(index));
            }
            for step in (0..schedule.steps()).rev() {
                prop_assert_eq!(fresh().rows_of_step(step), schedule.rows_of_step(step));
            }
        }
    }

    #[test]
    fn equal_lengths_keep_the_order_of_the_steps() {
        let size = |size| NonZeroUsize::new(size).unwrap();
        let micro_batch = MicroBatch { rows: size(12), tokens: size(60) };
        let sizes = Sizes { batch: size(4), epochs: 1, window: size(3), micro_batch };
        let schedule = Schedule::new(3, vec![5; 12], sizes);
        let trained: Vec<usize> = (0..3).flat_map(|step| schedule.rows_of_step(step)).collect();
        assert_eq!(schedule.window(0).micro_batches, [trained]);
    }

    #[test]
    fn no_rows_make_no_steps() {
        let one = NonZeroUsize::MIN;
        let micro_batch = MicroBatch { rows: one, tokens: one };
        let sizes = Sizes { batch: one, epochs: 2, window: one, micro_batch };
        let schedule = Schedule::new(0, Vec::new(), sizes);
        assert_eq!((schedule.steps(), schedule.windows()), (0, 0));
    }
}
