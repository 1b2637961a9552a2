//! How components of any slot are checked and made.

use std::ffi::c_void;
use std::sync::Arc;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::Slot;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::instance::{CallError, Instance, Name, outcome};
use super::library::Library;
use crate::abi::{
    MOBILLM_SLOT_BACKBONE, MOBILLM_SLOT_PRIVACY_POLICY, MOBILLM_SLOT_QUANTIZER,
    MOBILLM_SLOT_SELECTOR, MOBILLM_SLOT_SIDE_NETWORK, MOBILLM_SLOT_TRANSPORT, MobillmBackbone,
    MobillmComponent, MobillmPrivacyPolicy, MobillmQuantizer, MobillmSelector, MobillmSideNetwork,
    MobillmSlot, MobillmText, MobillmTransport,
};
use crate::text::Written;

/// What a config says of a component that is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    /// Its `type`.
    pub(crate) tag: String,
    /// The rest of its table.
    pub(crate) options: Map<String, Value>,
}

/// A slot's table.
pub(crate) trait Table: Sync + 'static {
    const SLOT: Slot;
    const CODE: MobillmSlot;
    fn component(&self) -> &MobillmComponent;
}

macro_rules! tables {
    ($($table:ident $slot:ident $code:ident;)*) => {$(
        impl Table for $table {
            const SLOT: Slot = Slot::$slot;
            const CODE: MobillmSlot = $code;
            fn component(&self) -> &MobillmComponent { &self.component }
        }
    )*};
}

tables! {
    MobillmBackbone Backbone MOBILLM_SLOT_BACKBONE;
    MobillmSelector Selector MOBILLM_SLOT_SELECTOR;
    MobillmPrivacyPolicy PrivacyPolicy MOBILLM_SLOT_PRIVACY_POLICY;
    MobillmQuantizer Quantizer MOBILLM_SLOT_QUANTIZER;
    MobillmTransport Transport MOBILLM_SLOT_TRANSPORT;
    MobillmSideNetwork SideNetwork MOBILLM_SLOT_SIDE_NETWORK;
}

impl Chosen {
    /// The table of the library that has this tag.
    pub(crate) fn table<T: Table>(&self) -> Result<(Arc<Name>, &'static T), CallError> {
        let Some((library, name)) = Library::of(T::SLOT, &self.tag) else {
            let name = format!("{} `{}`", T::SLOT, self.tag);
            let problem = "it is not loaded; name its library in `[plugins] load`".to_owned();
            return Err(CallError::Failed { name, call: "find", problem });
        };
        let lied = |problem: String| CallError::Lied {
            name: name.to_string(),
            call: "interface",
            problem,
        };
        let Some(table) = library.table(T::CODE) else {
            return Err(lied(format!("there is no table of the slot {}", T::SLOT)));
        };
        let table = table.cast::<T>();
        if !table.is_aligned() {
            return Err(lied(format!("the table is at {table:?}")));
        }
        // SAFETY: every table begins with its size.
        let (got, expected) = (unsafe { *table.cast::<usize>() }, size_of::<T>());
        if got < expected {
            return Err(lied(format!("the table has {got} bytes, expected at least {expected}")));
        }
        // A function that an author in C left out is a null, which no reference may lead to.
        let words = size_of::<T>() / size_of::<usize>();
        // SAFETY: the table is of this size and aligned, and all that it has is a number or a pointer wide.
        let words = unsafe { std::slice::from_raw_parts(table.cast::<usize>(), words) };
        if let Some(missing) = words.iter().position(|&word| word == 0) {
            return Err(lied(format!(
                "function {missing} of the table is null; expected all to be there"
            )));
        }
        // SAFETY: it is a table of this slot, as it was asked for, of at least this size, without a null, and lives as
        // long as the library.
        Ok((Arc::new(name), unsafe { &*table }))
    }

    /// What is wrong with the options.
    pub(crate) fn check<T: Table>(&self, context: &impl Serialize) -> Vec<Diagnostic> {
        self.ask::<T>(context).unwrap_or_else(|error| vec![Diagnostic::new("", error.to_string())])
    }

    fn ask<T: Table>(&self, context: &impl Serialize) -> Result<Vec<Diagnostic>, CallError> {
        let (name, table) = self.table::<T>()?;
        let (options, context) = self.texts(context);
        let (mut found, mut error) = (Written::default(), Written::default());
        let (to_found, to_error) = (found.writer(), error.writer());
        let text = |text: &str| MobillmText::of(text);
        // SAFETY: the table has all its functions; texts and writers live for the call.
        let status = unsafe {
            (table.component().check)(
                text(&self.tag),
                text(&options),
                text(&context),
                &to_found,
                &to_error,
            )
        };
        outcome(&name, "check", status, &error)?;
        serde_json::from_slice(&found.0).map_err(|error| CallError::Lied {
            name: name.to_string(),
            call: "check",
            problem: format!("{error} in {:?}", found.text()),
        })
    }

    /// An instance.
    pub(crate) fn build<T: Table>(
        &self,
        context: &impl Serialize,
    ) -> Result<Instance<T>, CallError> {
        let (name, table) = self.table::<T>()?;
        let (options, context) = self.texts(context);
        let (mut instance, mut error) = (std::ptr::null_mut::<c_void>(), Written::default());
        let to_error = error.writer();
        let text = |text: &str| MobillmText::of(text);
        // SAFETY: as for `check`.
        let status = unsafe {
            (table.component().build)(
                text(&self.tag),
                text(&options),
                text(&context),
                &mut instance,
                &to_error,
            )
        };
        outcome(&name, "build", status, &error)?;
        Instance::new(name, table, instance, table.component().release)
    }

    fn texts(&self, context: &impl Serialize) -> (String, String) {
        let context = serde_json::to_value(context).unwrap_or_default();
        (Value::Object(self.options.clone()).to_string(), context.to_string())
    }
}
