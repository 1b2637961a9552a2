//! Every mistake of a config at once, in a form for people.

use std::fmt;

use mobillm_core::diagnostic::Diagnostic;

use super::source::Place;

/// One mistake and where it stands.
#[derive(Debug, Clone)]
pub struct Mistake {
    /// What is wrong; its path is the whole key path (`device.transport.limits.mtu`).
    pub diagnostic: Diagnostic,
    /// Where it stands; the nearest enclosing table for a key that is not there.
    pub place: Place,
}

impl Mistake {
    pub(super) fn new(place: Place, diagnostic: Diagnostic) -> Self {
        Self { diagnostic, place }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.diagnostic)?;
        match self.place.excerpt() {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a config, sorted by file, line and column.
///
/// Printed, each is a line `FILE:LINE:COLUMN: KEY.PATH: what is wrong; what was expected` with the
/// line it is about, and the last line counts them.
#[derive(Debug)]
pub struct ConfigErrors {
    name: String,
    mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    pub(super) fn new(name: impl Into<String>, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| {
            let key = |mistake: &Mistake| (mistake.place.sort_key(), mistake.to_string());
            key(a).cmp(&key(b))
        });
        mistakes.dedup_by_key(|mistake| mistake.to_string());
        Self { name: name.into(), mistakes }
    }

    /// The mistakes, at least one.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        match self.mistakes.len() {
            1 => write!(f, "1 mistake in {}", self.name),
            count => write!(f, "{count} mistakes in {}", self.name),
        }
    }
}

impl std::error::Error for ConfigErrors {}
