//! Why a run could not start or go on.

use std::path::PathBuf;
use std::{fmt, io};

use mobillm_bundle::BundleError;
use mobillm_core::backbone::BackboneError;
use mobillm_core::privacy::PolicyError;
use mobillm_core::quantizer::QuantizeError;
use mobillm_core::selector::SelectorError;
use mobillm_core::side_network::SideNetworkError;
use mobillm_core::transport::TransportError;
use mobillm_store::StoreError;
use mobillm_task::DataError;
use mobillm_task::error::Place;
use mobillm_task::metrics::ScoreError;
use mobillm_wire::WireError;
use thiserror::Error;

use crate::config::ConfigErrors;

/// What was to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The text of this number, from 1.
    Text(usize),
    /// A row of a file.
    Row {
        /// The file.
        file: PathBuf,
        /// Where it is in there.
        place: Place,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(number) => write!(f, "text {number}"),
            Self::Row { file, place } => write!(f, "{}{place}", file.display()),
        }
    }
}

/// Why a run could not start or go on. The message says where, what was expected and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The config has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The task's prompt has no template that can be filled.
    #[error("task.prompt.template: {0}")]
    Template(String),
    /// The backbone failed.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The selector failed.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The policy refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The quantizer failed.
    #[error(transparent)]
    Quantizer(#[from] QuantizeError),
    /// Samples cannot be kept or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Answers cannot be scored.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The side network failed.
    #[error(transparent)]
    SideNetwork(#[from] SideNetworkError),
    /// A text or row has no answer.
    #[error("{asked}: {source}")]
    Answer {
        /// Which.
        asked: Asked,
        /// Why not.
        #[source]
        source: Box<RunError>,
    },
    /// The link failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The other end sent what it should not.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A `pull:` name that is not on this machine.
    #[error("{what} `pull:{name}` is not on this machine; run `mobillm pull {name}`")]
    NotPulled {
        /// What it is for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// One text where the task has pairs, or two where it has none.
    #[error(
        "{}", if *pairs { "the run was trained on pairs of texts; give the second one with --pair" }
        else { "the run was trained on single texts; leave --pair out" }
    )]
    Pairs {
        /// Whether the task has pairs.
        pairs: bool,
    },
    /// A run folder that cannot be used.
    #[error("run folder {}: {problem}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A file that could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// "read", "write", ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The device or the server thread of one process panicked: a defect of mobillm or a plugin.
    #[error("the {0} thread panicked; this is a defect, please report it")]
    Panicked(&'static str),
    /// The run was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl RunError {
    /// [`File`](Self::File), for `map_err` on what the system refuses: `action` is what was tried with
    /// `path`.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// Stopping is no failure: what fails while tidying up is then the news.
pub(crate) fn and_tidied<T>(
    result: Result<T, RunError>,
    tidied: Result<(), RunError>,
) -> Result<T, RunError> {
    match (result, tidied) {
        (Ok(_) | Err(RunError::Stopped), Err(error)) => Err(error),
        (result, _) => result,
    }
}
