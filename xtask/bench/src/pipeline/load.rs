//! Rounds on a machine that others use too.

use std::fs;

use crate::Error;

/// What others may take of the machine in a quiet round, in percent.
const QUIET: u64 = 4;

/// Measures until `rounds` rounds were quiet, `most` at most. Returns the `rounds` in which others
/// took least, and says so for a note. They are chosen by what others did, never by what was
/// measured. `measure` is told which round it is.
pub fn quietest<T>(
    rounds: usize,
    most: usize,
    mut measure: impl FnMut(usize) -> Result<T, Error>,
) -> Result<(Vec<T>, String), Error> {
    let (mut measured, mut quiet) = (Vec::new(), 0);
    while measured.len() < most && quiet < rounds {
        let began = now();
        let value = measure(measured.len())?;
        let others = began.zip(now()).map(|(began, ended)| ended.others_since(&began));
        quiet += usize::from(others.is_none_or(|others| others <= QUIET));
        measured.push((others, value));
    }
    let of = measured.len();
    measured.sort_by_key(|(others, _)| *others);
    measured.truncate(rounds);
    let others = match measured.last() {
        Some((Some(others), _)) => format!("other processes took at most {others}% of the machine"),
        _ => "what other processes took is not known".into(),
    };
    let note = format!("n = {}, the quietest of {of}: {others}", measured.len());
    Ok((measured.into_iter().map(|(_, value)| value).collect(), note))
}

/// Processor time so far, in the system's ticks.
struct Ticks {
    /// Of all processors, idle time included.
    all: u64,
    /// Of processes that are neither this one nor its children that have ended, and what a hypervisor
    /// took.
    others: u64,
}

impl Ticks {
    /// The share of the machine that others have taken since `began`, in percent.
    fn others_since(&self, began: &Self) -> u64 {
        let others = self.others.saturating_sub(began.others);
        100 * others / self.all.saturating_sub(began.all).max(1)
    }
}

/// `None` on systems that are not Linux.
fn now() -> Option<Ticks> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    ticks(&machine, &fs::read_to_string("/proc/self/stat").ok()?)
}

/// From the files that proc(5) describes.
fn ticks(machine: &str, process: &str) -> Option<Ticks> {
    let processors = machine.lines().next()?.strip_prefix("cpu ")?;
    // The time of guests, in the columns after these, is contained in them.
    let columns: Vec<u64> =
        processors.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let all: u64 = columns.iter().sum();
    let idle: u64 = columns.get(3..5)?.iter().sum();
    // The program's name may hold anything, so counting starts behind its last bracket.
    let (_, process) = process.rsplit_once(')')?;
    let own = process.split_whitespace().skip(11).take(4).map(str::parse);
    let own: Vec<u64> = own.collect::<Result<_, _>>().ok()?;
    (own.len() == 4).then(|| Ticks { all, others: (all - idle).saturating_sub(own.iter().sum()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_idle_nor_ours_is_others() {
        let machine = "cpu  10 20 30 400 5 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let process = "77 (a ) b) R 1 1 1 0 -1 0 0 0 0 0 11 12 13 14 20 0 3 0 9 9 9\n";
        let ticks = ticks(machine, process).unwrap();
        assert_eq!((ticks.all, ticks.others), (486, 10 + 20 + 30 + 6 + 7 + 8 - 11 - 12 - 13 - 14));
        let later = Ticks { all: 686, others: ticks.others + 50 };
        assert_eq!(later.others_since(&ticks), 25);
    }

    #[test]
    fn there_are_as_many_rounds_as_asked_for() {
        let (rounds, note) = quietest(2, 5, Ok).unwrap();
        assert_eq!(rounds.len(), 2);
        assert!(note.starts_with("n = 2, the quietest of "), "{note}");
        assert!(quietest(2, 5, |_| Err::<(), Error>("broken".into())).is_err());
    }
}
