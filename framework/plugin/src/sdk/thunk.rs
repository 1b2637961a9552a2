//! What every function of a table does around its own work: panics end here.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::list::Maker;
use super::log::{Level, log};
use crate::abi::{
    MOBILLM_FAILED, MOBILLM_OK, MOBILLM_PANICKED, MOBILLM_REFUSED, MobillmStatus, MobillmText,
    MobillmWriter,
};
use crate::text::write;

/// Why a call ends otherwise than well.
pub(crate) enum Ending {
    /// What was given is wrong.
    Refused(String),
    /// It did not work.
    Failed(String),
    /// The other end closed the link.
    #[cfg(feature = "transport")]
    Closed,
}

impl Ending {
    pub(crate) fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Does `work` and says how it ended; a panic is one way.
///
/// # Safety
/// The writer is null or the host's, lent for the call.
pub(crate) unsafe fn guard(
    error: *const MobillmWriter,
    work: impl FnOnce() -> Result<(), Ending>,
) -> MobillmStatus {
    let (status, problem) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return MOBILLM_OK,
        Ok(Err(Ending::Refused(problem))) => (MOBILLM_REFUSED, problem),
        Ok(Err(Ending::Failed(problem))) => (MOBILLM_FAILED, problem),
        #[cfg(feature = "transport")]
        Ok(Err(Ending::Closed)) => return crate::abi::MOBILLM_CLOSED,
        Err(panic) => (MOBILLM_PANICKED, said(panic)),
    };
    // A reason that the host does not take is no other one.
    // SAFETY: as the caller promises.
    drop(unsafe { write(error, problem.as_bytes()) });
    status
}

/// What a panic said.
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("it said nothing").to_owned();
    discard(panic);
    text
}

/// Drops what a panic carried, which may panic too. What does so again and again is given up.
fn discard(mut panic: Box<dyn Any + Send>) {
    for _ in 0..8 {
        match catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            Ok(()) => return,
            Err(next) => panic = next,
        }
    }
    std::mem::forget(panic);
}

/// The config twin that `tag` and `options` ask for.
///
/// # Safety
/// Both texts are lent for the call.
pub(crate) unsafe fn twin<C: ?Sized>(
    makers: Vec<Maker<C>>,
    tag: MobillmText,
    options: MobillmText,
) -> Result<Box<C>, Ending> {
    // SAFETY: as the caller promises.
    let (tag, options) = unsafe { (tag.read(), options.read()) };
    let (tag, options) = (tag.map_err(Ending::Refused)?, options.map_err(Ending::Refused)?);
    let maker = makers.into_iter().find(|maker| maker.tag == tag);
    let maker = maker.ok_or_else(|| Ending::Refused(format!("there is no `{tag}` here")))?;
    (maker.read)(options).map_err(|error| Ending::Refused(format!("the options: {error}")))
}

/// What the host knows.
///
/// # Safety
/// The text is lent for the call.
pub(crate) unsafe fn context<T: DeserializeOwned>(text: MobillmText) -> Result<T, Ending> {
    // SAFETY: as the caller promises.
    let text = unsafe { text.read() }.map_err(Ending::Refused)?;
    serde_json::from_str(text).map_err(|error| Ending::Refused(format!("the context: {error}")))
}

/// Writes `value` as JSON.
///
/// # Safety
/// The writer is null or the host's, lent for the call.
pub(crate) unsafe fn write_json(
    writer: *const MobillmWriter,
    value: &(impl Serialize + ?Sized),
) -> Result<(), Ending> {
    let text = serde_json::to_vec(value).map_err(Ending::failed)?;
    // SAFETY: as the caller promises.
    unsafe { write(writer, &text) }.map_err(Ending::Failed)
}

/// Hands `thing` over as an instance.
///
/// # Safety
/// The pointer is the host's, lent for the call.
pub(crate) unsafe fn hand_over<T>(thing: T, instance: *mut *mut c_void) {
    // SAFETY: as the caller promises.
    unsafe { instance.write(Box::into_raw(Box::new(thing)).cast()) };
}

/// Takes an instance back. A panic of its `drop` ends here and is told to the user, and what it held is lost.
///
/// # Safety
/// The instance is of [`hand_over`] with the same type, and is not used again.
pub(crate) unsafe extern "C" fn release<T>(instance: *mut c_void) {
    // SAFETY: as the caller promises.
    let drop_it = || drop(unsafe { Box::from_raw(instance.cast::<T>()) });
    if let Err(panic) = catch_unwind(AssertUnwindSafe(drop_it)) {
        let line = format!("an instance panicked when it was released: {}", said(panic));
        log(Level::Error, &line);
    }
}
