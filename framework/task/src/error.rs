//! What can be wrong with a data file, always with its place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use mobillm_core::diagnostic::Diagnostic;
use thiserror::Error;

/// How many problems of one file are listed before the rest is only counted.
pub const LISTED_PROBLEMS: usize = 10;

/// A place in a data file. Shown, it goes on from the file's path: `mood.csv:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line of a text file, from 1. A quoted record of several lines has the number of its first.
    Line(u64),
    /// A row of a file without lines, from 1.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line) => write!(f, ":{line}"),
            Self::Row(row) => write!(f, ": row {row}"),
        }
    }
}

/// What is wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, what was expected and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    pub(crate) fn in_line(line: u64, message: impl Into<String>) -> Self {
        Self::new(Place::Line(line), message)
    }

    pub(crate) fn in_file(message: impl Into<String>) -> Self {
        Self::new(Place::File, message)
    }
}

/// Why data could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The `[task]` table contradicts itself.
    #[error("{}", diagnostics.iter().map(|finding| format!("task.{finding}")).collect::<Vec<_>>().join("\n"))]
    Config {
        /// What [`TaskConfig::check`](crate::TaskConfig::check) found.
        diagnostics: Vec<Diagnostic>,
    },
    /// The file is not there or cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Neither the config nor the file's name says how it is read.
    #[error(
        "{}: its name does not end in .jsonl, .csv, .tsv or .parquet; set `task.format` to \"jsonl\", \"csv\", \"tsv\" or \"parquet\"",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file as a whole is not of its format, or its columns are not the config's.
    #[error("{}{}: {}", path.display(), problem.place, problem.message)]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where it showed.
        problem: Problem,
    },
    /// Rows that cannot be used.
    #[error("{}", list(path, problems, *total))]
    Rows {
        /// The file.
        path: PathBuf,
        /// The first [`LISTED_PROBLEMS`] of them.
        problems: Vec<Problem>,
        /// How many there are.
        total: usize,
    },
    /// The file has no row.
    #[error("{}: there is no row in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too little to hold anything out.
    #[error(
        "{}: {texts} distinct text is too little to hold some out; give more rows, or a file of its own as `task.held_out`",
        path.display()
    )]
    Split {
        /// The file.
        path: PathBuf,
        /// Distinct texts in it.
        texts: usize,
    },
    /// Nothing can be learnt because every answer is the same.
    #[error(
        "{}: all {rows} training rows have the answer {answer}; at least two different ones are needed",
        path.display()
    )]
    OneAnswer {
        /// The file.
        path: PathBuf,
        /// Training rows.
        rows: usize,
        /// Their one label or target, as in the data.
        answer: String,
    },
}

fn list(path: &Path, problems: &[Problem], total: usize) -> String {
    let mut lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}{}: {}", path.display(), problem.place, problem.message))
        .collect();
    if total > problems.len() {
        lines.push(format!("{}: and {} more", path.display(), total - problems.len()));
    }
    lines.join("\n")
}
