//! What a run tells whoever watches it.

use mobillm_core::side_network::StepReport;
use serde::Serialize;

use crate::error::RunError;
use crate::stop::Stop;

/// A part of a run that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reading the data and cutting it into tokens.
    Tokenize,
    /// Held-out rows run forward, once.
    HeldOut,
    /// Training, counted in steps.
    Train,
    /// Rows are predicted.
    Predict,
}

/// News of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum News {
    /// A phase begins.
    Begin {
        /// Which.
        phase: Phase,
        /// How much there is to do.
        total: u64,
        /// How much is done already.
        done: u64,
    },
    /// A phase has come this far.
    Advance {
        /// Which.
        phase: Phase,
        /// How much is done.
        done: u64,
    },
    /// A phase ended.
    End {
        /// Which.
        phase: Phase,
    },
    /// A step was trained.
    Step {
        /// What it did.
        report: StepReport,
    },
    /// An epoch was evaluated on the held-out rows.
    Epoch {
        /// The epoch, counted from 0.
        epoch: u32,
        /// The metric's name.
        metric: String,
        /// Its value.
        value: f64,
    },
    /// Something that a person should know and that does not stop the run.
    Warning {
        /// What.
        message: String,
    },
    /// Something that a person may want to know.
    Note {
        /// What.
        message: String,
    },
}

/// Takes the news of a run, from several threads.
pub trait Observer: Sync {
    /// Takes one piece of news; returns quickly.
    fn news(&self, news: News);
}

/// Watches nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn news(&self, _: News) {}
}

/// Who watches a run, and whether it is to stop.
#[derive(Clone)]
pub struct Watch<'a> {
    /// Takes the news.
    pub observer: &'a dyn Observer,
    /// Says when to stop.
    pub stop: Stop,
}

impl Watch<'_> {
    /// Passes one piece of news on.
    pub fn news(&self, news: News) {
        self.observer.news(news);
    }

    /// A phase begins.
    pub fn begin(&self, phase: Phase, total: u64, done: u64) {
        self.news(News::Begin { phase, total, done });
    }

    /// A phase has come this far.
    pub fn advance(&self, phase: Phase, done: u64) {
        self.news(News::Advance { phase, done });
    }

    /// A phase ended.
    pub fn end(&self, phase: Phase) {
        self.news(News::End { phase });
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`RunError::Stopped`] once somebody asked for it.
    pub fn check(&self) -> Result<(), RunError> {
        if self.stop.is_requested() { Err(RunError::Stopped) } else { Ok(()) }
    }
}
