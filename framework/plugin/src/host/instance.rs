//! What is held of an instance on the other side, and how it is called.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mobillm_core::registry::Slot;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::hang::Pulse;
use crate::abi::{
    MOBILLM_CLOSED, MOBILLM_OK, MOBILLM_PANICKED, MOBILLM_REFUSED, MobillmStatus, MobillmWriter,
};
use crate::text::Written;

/// Whom a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The library, with its version.
    pub(crate) library: String,
    pub(crate) slot: Slot,
    pub(crate) tag: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` of {}", self.slot, self.tag, self.library)
    }
}

/// How a call on the other side failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// It refused what it was given.
    #[error("{name}: {call}: {problem}")]
    Refused {
        /// Slot, tag and library.
        name: String,
        /// The function of the slot's table.
        call: &'static str,
        /// What it said.
        problem: String,
    },
    /// It failed.
    #[error("{name}: {call} failed: {problem}")]
    Failed {
        /// Slot, tag and library.
        name: String,
        /// The function of the slot's table.
        call: &'static str,
        /// What it said.
        problem: String,
    },
    /// It panicked, now or before.
    #[error(
        "{name}: {call} panicked: {problem}; the instance is not used any more, tell the plugin's author"
    )]
    Panicked {
        /// Slot, tag and library.
        name: String,
        /// The function of the slot's table.
        call: &'static str,
        /// What it said.
        problem: String,
    },
    /// An earlier call panicked.
    #[error("{name}: {call} was not called, because an earlier call panicked")]
    Poisoned {
        /// Slot, tag and library.
        name: String,
        /// The function of the slot's table.
        call: &'static str,
    },
    /// A link was closed by the other end.
    #[error("{name}: the link is closed")]
    Closed {
        /// Slot, tag and library.
        name: String,
    },
    /// It said that all went well, and what it gave is not what it should be.
    #[error("{name}: {call} gave something wrong: {problem}; tell the plugin's author")]
    Lied {
        /// Slot, tag and library.
        name: String,
        /// The function of the slot's table.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// Makes an error of how a call of `name` ended.
pub(crate) fn outcome(
    name: &Name,
    call: &'static str,
    status: MobillmStatus,
    written: &Written,
) -> Result<(), CallError> {
    let problem = match written.text() {
        text if text.is_empty() => format!("it gave no reason (status {status})"),
        text => text,
    };
    let name = || name.to_string();
    Err(match status {
        MOBILLM_OK => return Ok(()),
        MOBILLM_REFUSED => CallError::Refused { name: name(), call, problem },
        MOBILLM_PANICKED => CallError::Panicked { name: name(), call, problem },
        MOBILLM_CLOSED => CallError::Closed { name: name() },
        _ => CallError::Failed { name: name(), call, problem },
    })
}

/// An instance on the other side, with its slot's table `T`. It is released once, when this is dropped.
pub(crate) struct Instance<T: 'static> {
    pub(crate) name: Arc<Name>,
    pub(crate) table: &'static T,
    pointer: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
    poisoned: AtomicBool,
    pulse: Arc<Pulse>,
}

// SAFETY: the ABI says that calls may come from any thread.
unsafe impl<T: Sync> Send for Instance<T> {}
// SAFETY: the ABI says of which slots calls may come from several threads at once; the types that hold an
// instance of another slot call it by `&mut self` or are not `Sync` themselves.
unsafe impl<T: Sync> Sync for Instance<T> {}

impl<T> Instance<T> {
    /// Takes over what `build` gave.
    ///
    /// # Errors
    /// If it gave nothing.
    pub(crate) fn new(
        name: Arc<Name>,
        table: &'static T,
        pointer: *mut c_void,
        release: unsafe extern "C" fn(*mut c_void),
    ) -> Result<Self, CallError> {
        if pointer.is_null() {
            let problem = "no instance".to_owned();
            return Err(CallError::Lied { name: name.to_string(), call: "build", problem });
        }
        let pulse = Pulse::new(Arc::clone(&name));
        Ok(Self { name, table, pointer, release, poisoned: AtomicBool::new(false), pulse })
    }

    /// Calls a function of the table.
    ///
    /// # Errors
    /// As the call ended, or if an earlier one panicked.
    #[inline]
    pub(crate) fn call(
        &self,
        call: &'static &'static str,
        function: impl FnOnce(&'static T, *mut c_void, *const MobillmWriter) -> MobillmStatus,
    ) -> Result<(), CallError> {
        self.pulse.enter(call);
        let ended = self.wait(call, function);
        self.pulse.leave();
        ended
    }

    /// The same for a function that waits by its nature, for a frame or for the other end: it is not watched.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    #[inline]
    pub(crate) fn wait(
        &self,
        call: &'static &'static str,
        function: impl FnOnce(&'static T, *mut c_void, *const MobillmWriter) -> MobillmStatus,
    ) -> Result<(), CallError> {
        if self.poisoned.load(Ordering::Relaxed) {
            return Err(CallError::Poisoned { name: self.name.to_string(), call });
        }
        let mut error = Written::default();
        let writer = error.writer();
        let status = function(self.table, self.pointer, &writer);
        if status == MOBILLM_OK {
            return Ok(());
        }
        if status == MOBILLM_PANICKED {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        outcome(&self.name, call, status, &error)
    }

    /// Calls a function of the table that writes JSON.
    ///
    /// # Errors
    /// As [`call`](Self::call), or if it wrote something else.
    pub(crate) fn json<R: DeserializeOwned>(
        &self,
        call: &'static &'static str,
        function: impl FnOnce(
            &'static T,
            *mut c_void,
            *const MobillmWriter,
            *const MobillmWriter,
        ) -> MobillmStatus,
    ) -> Result<R, CallError> {
        let mut out = Written::default();
        let writer = out.writer();
        self.call(call, |table, instance, error| function(table, instance, &writer, error))?;
        serde_json::from_slice(&out.0)
            .map_err(|error| self.lied(call, format!("{error} in {:?}", out.text())))
    }

    /// Does `work` of the host's in the middle of `call`: how long that takes is not the plugin's doing.
    pub(crate) fn outside<R>(&self, call: &'static &'static str, work: impl FnOnce() -> R) -> R {
        self.pulse.leave();
        let done = work();
        self.pulse.enter(call);
        done
    }

    /// The error that `call` said all is well, and it is not.
    pub(crate) fn lied(&self, call: &'static str, problem: impl Into<String>) -> CallError {
        CallError::Lied { name: self.name.to_string(), call, problem: problem.into() }
    }
}

impl<T> Drop for Instance<T> {
    fn drop(&mut self) {
        // SAFETY: `build` gave it, and nobody else releases it.
        unsafe { (self.release)(self.pointer) };
    }
}

impl<T> fmt::Debug for Instance<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn release(instance: *mut c_void) {
        // SAFETY: the instance is a number.
        unsafe { *instance.cast::<u32>() += 1 };
    }

    fn instance(released: *mut u32) -> Result<Instance<()>, CallError> {
        let name = Name { library: "acme 1".into(), slot: Slot::Selector, tag: "acme.odd".into() };
        Instance::new(Arc::new(name), &(), released.cast(), release)
    }

    #[test]
    fn it_is_released_once_whatever_happened() {
        assert!(matches!(instance(std::ptr::null_mut()), Err(CallError::Lied { .. })));
        for (status, called) in
            [(MOBILLM_OK, 2), (MOBILLM_REFUSED, 2), (MOBILLM_PANICKED, 1), (77, 2)]
        {
            let (mut released, mut calls) = (0, 0);
            let instance = instance(&mut released).unwrap();
            for _ in 0..2 {
                let ended = instance.call(&"call", |(), _, _| {
                    calls += 1;
                    status
                });
                assert_eq!(ended.is_ok(), status == MOBILLM_OK);
            }
            drop(instance);
            assert_eq!((released, calls), (1, called), "status {status}");
        }
    }

    #[test]
    fn work_of_the_hosts_is_not_the_plugins_time() {
        let mut released = 0;
        let instance = instance(&mut released).unwrap();
        let is_out = || instance.pulse.out().is_some();
        let called = instance.call(&"call", |(), _, _| {
            assert!(is_out());
            instance.outside(&"call", || assert!(!is_out()));
            assert!(is_out());
            MOBILLM_OK
        });
        assert!(called.is_ok() && !is_out());
        assert!(instance.wait(&"wait", |(), _, _| u32::from(is_out())).is_ok());
    }
}
