//! What the embedding program provides.

use std::path::PathBuf;

use mobillm_core::backbone::NativeLibraries;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::Registry;

use crate::config::{Location, Origin};
use crate::error::RunError;

/// What was fetched by a name, as a path: a model's bundle or a data file.
pub type Pulled = dyn Fn(&str) -> Option<PathBuf> + Send + Sync;

/// Plugins, native libraries and fetched files of a program on a machine.
pub struct Environment {
    /// The plugins that configs may name.
    pub registry: Registry,
    /// Native libraries that were found.
    pub libraries: NativeLibraries,
    /// Where `pull:NAME` is, if it was fetched.
    pub pulled: Box<Pulled>,
}

impl Environment {
    /// An environment of plugins alone: no native library, nothing fetched.
    pub fn new(registry: Registry) -> Self {
        Self { registry, libraries: NativeLibraries::default(), pulled: Box::new(|_| None) }
    }

    /// The path that `key` of a config names, which every config has.
    ///
    /// # Errors
    /// If it names something that was not fetched.
    pub(crate) fn required(
        &self,
        origin: &Origin,
        key: &str,
        what: &'static str,
    ) -> Result<PathBuf, RunError> {
        self.locate(origin, key, what)?.ok_or_else(|| {
            let missing = Diagnostic::new(key, "this is missing").expected("a path or `pull:NAME`");
            origin.errors([missing]).into()
        })
    }

    /// The path that `key` of a config names, or `None` if it is not set.
    ///
    /// # Errors
    /// If it names something that was not fetched.
    pub(crate) fn locate(
        &self,
        origin: &Origin,
        key: &str,
        what: &'static str,
    ) -> Result<Option<PathBuf>, RunError> {
        match origin.location(key) {
            None => Ok(None),
            Some(Location::Path(path)) => Ok(Some(path)),
            Some(Location::Pull(name)) => match (self.pulled)(&name) {
                Some(path) => Ok(Some(path)),
                None => Err(RunError::NotPulled { what, name }),
            },
        }
    }
}
