//! Why a file cannot be read.

use thiserror::Error;

/// Why a GGUF file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file is something else.
    #[error("this is no GGUF file: it starts with {got:?}, expected \"GGUF\"")]
    Magic {
        /// What it starts with, bytes that are no text escaped.
        got: String,
    },
    /// The file is of a version that is not read.
    #[error(
        "GGUF of version {got}{} cannot be read, only versions 2 and 3 of little-endian order; \
         convert the model anew", if *swapped { " in big-endian order" } else { "" }
    )]
    Version {
        /// Its version.
        got: u32,
        /// Whether its numbers are big-endian.
        swapped: bool,
    },
    /// The file ends before something that it announces.
    #[error(
        "{what}, at byte {at}, takes {needs} bytes, but the file has only {left} from there; it is \
         damaged or cut short, fetch it again"
    )]
    Truncated {
        /// What was to be read.
        what: String,
        /// Where it starts.
        at: usize,
        /// Its bytes.
        needs: u64,
        /// Bytes from there to the end of the file.
        left: usize,
    },
    /// A string is not text.
    #[error("{what} is not UTF-8 from byte {at} of the file on; it is damaged, fetch it again")]
    Text {
        /// What was to be read.
        what: String,
        /// The first byte that is wrong.
        at: usize,
    },
    /// The number of tensors or metadata entries cannot be right.
    #[error(
        "the header claims {claimed} {what}, but the {left} bytes that follow hold {limit} at most; \
         the file is damaged or cut short, fetch it again"
    )]
    Count {
        /// What is counted.
        what: &'static str,
        /// The number in the header.
        claimed: u64,
        /// Bytes behind the header.
        left: usize,
        /// What fits into them.
        limit: u64,
    },
    /// A metadata entry is not what it should be.
    #[error("metadata `{key}` {problem}")]
    Metadata {
        /// Its key, with the index of an array's element.
        key: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A tensor is not what it should be.
    #[error("tensor `{name}` {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong and what was expected.
        problem: String,
    },
}

impl GgufError {
    /// The metadata entry `key` is wrong: `problem` goes on where "metadata `key`" ends.
    pub fn metadata(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Metadata { key: key.into(), problem: problem.into() }
    }

    /// The tensor `name` is wrong: `problem` goes on where "tensor `name`" ends.
    pub fn tensor(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), problem: problem.into() }
    }
}
