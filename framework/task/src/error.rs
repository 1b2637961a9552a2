//! What can be wrong with a data file, always with its place.

use std::io;
use std::path::{Path, PathBuf};

use mobillm_core::diagnostic::Diagnostic;
use thiserror::Error;

/// How many lines of one file are listed before the rest is only counted.
pub const LISTED_PROBLEMS: usize = 10;

/// What is wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1. A quoted record of several lines has the number of its first.
    pub line: u64,
    /// What is wrong, what was expected and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(line: u64, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
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
        "{}: its name does not end in .jsonl, .csv or .tsv; set `task.format` to \"jsonl\", \"csv\" or \"tsv\"",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file as a whole cannot be read as text, or its columns are not the config's.
    #[error("{}:{}: {}", path.display(), problem.line, problem.message)]
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
        .map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.message))
        .collect();
    if total > problems.len() {
        lines.push(format!("{}: and {} more", path.display(), total - problems.len()));
    }
    lines.join("\n")
}
