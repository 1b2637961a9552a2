//! How components of any slot are checked and made.

use std::ffi::c_void;

use mobillm_core::diagnostic::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hang;
use super::instance::{CallError, Instance, Name, outcome};
use super::library::Library;
use super::table::Table;
use crate::abi::MobillmText;
#[cfg(test)]
use crate::abi::{MOBILLM_REFUSED, MobillmComponent, MobillmStatus, MobillmWriter};
use crate::text::written;

/// What a config says of a component that is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    /// Its `type`.
    pub(crate) tag: String,
    /// The rest of its table.
    pub(crate) options: Map<String, Value>,
}

impl Chosen {
    /// The table of the library that has this tag.
    pub(crate) fn table<T: Table>(&self) -> Result<(&'static Name, &'static T), CallError> {
        let Some((library, name)) = Library::of(T::SLOT, &self.tag) else {
            let name = format!("{} `{}`", T::SLOT, self.tag);
            let problem = "it is not loaded; name its library in `[plugins] load`".to_owned();
            return Err(CallError::Failed { name, call: "find", problem });
        };
        let table = library.table().map_err(|problem| CallError::Lied {
            name: name.to_string(),
            call: "table",
            problem,
        })?;
        Ok((name, table))
    }

    /// What is wrong with the options.
    pub(crate) fn check<T: Table>(&self, context: &impl Serialize) -> Vec<Diagnostic> {
        self.ask::<T>(context).unwrap_or_else(|error| vec![Diagnostic::new("", error.to_string())])
    }

    fn ask<T: Table>(&self, context: &impl Serialize) -> Result<Vec<Diagnostic>, CallError> {
        let (name, table) = self.table::<T>()?;
        let (options, context) = self.texts(name, context)?;
        let text = |text: &str| MobillmText::of(text);
        let _out = hang::out(name, &"check");
        let ((status, error), found) = written(|found| {
            // SAFETY: the table has all its functions; texts and writers live for the call.
            written(|error| unsafe {
                (table.component().check)(
                    text(&self.tag),
                    text(&options),
                    text(&context),
                    found,
                    error,
                )
            })
        });
        outcome(name, "check", status, &error)?;
        found.json().map_err(|problem| CallError::Lied {
            name: name.to_string(),
            call: "check",
            problem,
        })
    }

    /// An instance.
    pub(crate) fn build<T: Table>(
        &self,
        context: &impl Serialize,
    ) -> Result<Instance<T>, CallError> {
        let (name, table) = self.table::<T>()?;
        let (options, context) = self.texts(name, context)?;
        let mut instance = std::ptr::null_mut::<c_void>();
        let text = |text: &str| MobillmText::of(text);
        let _out = hang::out(name, &"build");
        // SAFETY: as for `check`; the place of the instance lives for the call, too.
        let (status, error) = written(|error| unsafe {
            (table.component().build)(
                text(&self.tag),
                text(&options),
                text(&context),
                &mut instance,
                error,
            )
        });
        outcome(name, "build", status, &error)?;
        Instance::new(name, table, instance, table.component().release)
    }

    /// Options and context as they cross.
    fn texts(&self, name: &Name, context: &impl Serialize) -> Result<(String, String), CallError> {
        let context = serde_json::to_string(context).map_err(|error| CallError::Failed {
            name: name.to_string(),
            call: "build",
            problem: format!("what it is built from cannot cross: {error}"),
        })?;
        Ok((Value::Object(self.options.clone()).to_string(), context))
    }
}

/// How components of a table are made that tests fill by hand: not at all.
#[cfg(test)]
pub(super) const NONE: MobillmComponent = {
    unsafe extern "C" fn check(
        _: MobillmText,
        _: MobillmText,
        _: MobillmText,
        _: *const MobillmWriter,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        MOBILLM_REFUSED
    }

    unsafe extern "C" fn build(
        _: MobillmText,
        _: MobillmText,
        _: MobillmText,
        _: *mut *mut c_void,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        MOBILLM_REFUSED
    }

    unsafe extern "C" fn release(_: *mut c_void) {}

    MobillmComponent { check, build, release }
};
