//! What is held of an instance on the other side, and how it is called.

use std::ffi::c_void;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::hang;
use crate::abi::{
    MOBILLM_CLOSED, MOBILLM_OK, MOBILLM_PANICKED, MOBILLM_REFUSED, MobillmStatus, MobillmWriter,
};
use crate::text::{Written, written};

/// Whom a message is about: a component with its library, or the library alone. It lives as long as the library.
#[derive(Debug)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    /// It panicked.
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
    #[error("{name}: {call} was not called, because {panicked}")]
    Poisoned {
        /// Slot, tag and library.
        name: String,
        /// The function of the slot's table.
        call: &'static str,
        /// The earlier call, and what it said.
        panicked: String,
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
        _ => CallError::Failed { name: name(), call, problem },
    })
}

/// An instance on the other side, with its slot's table `T`. It is released once, when this is dropped.
pub(crate) struct Instance<T: 'static> {
    pub(crate) name: &'static Name,
    pub(crate) table: &'static T,
    pointer: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
    /// Which call panicked, if one did.
    panicked: OnceLock<String>,
    /// What it came from, and must not outlive: a link's transport.
    _of: Option<Arc<Self>>,
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
        name: &'static Name,
        table: &'static T,
        pointer: *mut c_void,
        release: unsafe extern "C" fn(*mut c_void),
    ) -> Result<Self, CallError> {
        Self::given(name, table, pointer, release, "build", None)
    }

    /// Takes over what the function `call` of the instance `of` gave, which goes back by `release`.
    ///
    /// # Errors
    /// If it gave nothing.
    pub(crate) fn of(
        of: &Arc<Self>,
        pointer: *mut c_void,
        release: unsafe extern "C" fn(*mut c_void),
        call: &'static str,
    ) -> Result<Self, CallError> {
        Self::given(of.name, of.table, pointer, release, call, Some(Arc::clone(of)))
    }

    fn given(
        name: &'static Name,
        table: &'static T,
        pointer: *mut c_void,
        release: unsafe extern "C" fn(*mut c_void),
        call: &'static str,
        of: Option<Arc<Self>>,
    ) -> Result<Self, CallError> {
        if pointer.is_null() {
            let problem = "no instance".to_owned();
            return Err(CallError::Lied { name: name.to_string(), call, problem });
        }
        Ok(Self { name, table, pointer, release, panicked: OnceLock::new(), _of: of })
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
        let _out = hang::out(self.name, call);
        self.ended(call, function)
            .unwrap_or_else(|(status, error)| outcome(self.name, call, status, &error))
    }

    /// The same for a function of a link, which waits by its nature: it is not watched, and may find the link closed.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::Closed`].
    pub(crate) fn wait(
        &self,
        call: &'static &'static str,
        function: impl FnOnce(&'static T, *mut c_void, *const MobillmWriter) -> MobillmStatus,
    ) -> Result<(), CallError> {
        self.ended(call, function).unwrap_or_else(|(status, error)| match status {
            MOBILLM_CLOSED => Err(CallError::Closed { name: self.name.to_string() }),
            _ => outcome(self.name, call, status, &error),
        })
    }

    /// How a call ended: well, not at all, or with a status and what was said.
    #[inline]
    fn ended(
        &self,
        call: &'static &'static str,
        function: impl FnOnce(&'static T, *mut c_void, *const MobillmWriter) -> MobillmStatus,
    ) -> Result<Result<(), CallError>, (MobillmStatus, Written)> {
        if let Some(panicked) = self.panicked.get() {
            let (name, panicked) = (self.name.to_string(), panicked.clone());
            return Ok(Err(CallError::Poisoned { name, call, panicked }));
        }
        let (status, error) = written(|error| function(self.table, self.pointer, error));
        match status {
            MOBILLM_OK => Ok(Ok(())),
            MOBILLM_PANICKED => {
                self.panicked.get_or_init(|| format!("{call} panicked before: {}", error.text()));
                Err((MOBILLM_PANICKED, error))
            }
            status => Err((status, error)),
        }
    }

    /// Stops what waits, if the instance is used any more. That cannot fail.
    pub(crate) fn stop(&self, function: unsafe extern "C" fn(*mut c_void)) {
        if self.panicked.get().is_some() {
            return;
        }
        let _out = hang::out(self.name, &"stop");
        // SAFETY: the function is of this instance's table.
        unsafe { function(self.pointer) };
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
        let (called, out) = written(|out| {
            self.call(call, |table, instance, error| function(table, instance, out, error))
        });
        called?;
        out.json().map_err(|problem| self.lied(call, problem))
    }

    /// The error that `call` said all is well, and it is not.
    pub(crate) fn lied(&self, call: &'static str, problem: impl Into<String>) -> CallError {
        CallError::Lied { name: self.name.to_string(), call, problem: problem.into() }
    }
}

impl<T> Drop for Instance<T> {
    fn drop(&mut self) {
        let _out = hang::out(self.name, &"release");
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
    use std::sync::Mutex;

    use super::*;

    unsafe extern "C" fn release(instance: *mut c_void) {
        // SAFETY: the instance is a number.
        unsafe { *instance.cast::<u32>() += 1 };
    }

    fn instance(released: *mut u32) -> Result<Instance<()>, CallError> {
        let name = Box::leak(Box::new(Name::new("selector `acme.odd` of acme 1".to_owned())));
        Instance::new(name, &(), released.cast(), release)
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
    fn it_is_released_before_what_it_came_from() {
        static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        unsafe extern "C" fn released(instance: *mut c_void) {
            ORDER.lock().unwrap().push(instance.addr());
        }
        let name = Box::leak(Box::new(Name::new("transport `acme.odd` of acme 1".to_owned())));
        let at = std::ptr::without_provenance_mut;
        let transport = Arc::new(Instance::new(name, &(), at(1), released).unwrap());
        let link = Instance::of(&transport, at(2), released, "connect").unwrap();
        let nothing = Instance::of(&transport, at(0), released, "connect").unwrap_err();
        assert!(matches!(nothing, CallError::Lied { call: "connect", .. }));
        drop(transport);
        assert!(ORDER.lock().unwrap().is_empty());
        drop(link);
        assert_eq!(*ORDER.lock().unwrap(), [2, 1]);
    }

    #[test]
    fn what_waits_is_not_watched() {
        let mut released = 0;
        let instance = instance(&mut released).unwrap();
        assert!(instance.call(&"call", |(), _, _| u32::from(!hang::is_out())).is_ok());
        assert!(instance.wait(&"wait", |(), _, _| u32::from(hang::is_out())).is_ok());
    }

    #[test]
    fn a_closed_link_is_one_of_transports() {
        let mut released = 0;
        let ended = instance(&mut released).unwrap().call(&"call", |(), _, _| MOBILLM_CLOSED);
        assert!(matches!(ended, Err(CallError::Failed { .. })), "{ended:?}");
    }
}
