//! What can be wrong with a matrix or with a file of weights.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why values are not a matrix that can be stored, or rows of it cannot be read.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// Parts of a matrix contradict its shape.
    #[error("a matrix of {rows} x {columns} {problem}")]
    Shape {
        /// Rows it should have.
        rows: usize,
        /// Columns it should have.
        columns: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A value is NaN, infinite, or larger than the format can hold.
    #[error(
        "the value in row {row}, column {column} is {value}; expected a finite number \
         of magnitude {limit} at most: the model is damaged or needs another weight format"
    )]
    Value {
        /// Its row, from 0.
        row: usize,
        /// Its column, from 0; for a scale or offset the first that it stands for.
        column: usize,
        /// What it is.
        value: f32,
        /// The largest magnitude that the format holds.
        limit: f32,
    },
    /// Rows were asked for that are not there.
    #[error("rows {from}..{to} were asked for, but the matrix has {rows}")]
    Rows {
        /// The first of them.
        from: usize,
        /// One behind the last of them.
        to: usize,
        /// Rows of the matrix.
        rows: usize,
    },
}

/// Why weights cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// There are no weights where they should be.
    #[error("{}: no such file; {remedy}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// The system cannot read a file.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The system cannot write a file.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A value that was to be written cannot be stored; the file that it comes from is to blame.
    #[error("tensor {name}: {source}")]
    Value {
        /// The tensor.
        name: String,
        /// Which value, and why.
        #[source]
        source: MatrixError,
    },
    /// A tensor is not there, is not what was asked for, or was not announced to the writer.
    #[error("{}: tensor {name} {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong and what was expected.
        problem: String,
    },
}

impl WeightsError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Write { path: path.to_owned(), source }
    }

    pub(crate) fn tensor(path: &Path, name: &str, problem: impl ToString) -> Self {
        let (name, problem) = (name.to_owned(), problem.to_string());
        Self::Tensor { path: path.to_owned(), name, problem }
    }
}
