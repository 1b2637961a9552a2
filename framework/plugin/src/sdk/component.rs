//! How the components of a slot are made: the same for every slot.

use std::ffi::c_void;

use mobillm_core::diagnostic::Diagnostic;
use serde::de::DeserializeOwned;

use super::list::Maker;
use super::thunk::{Ending, context, guard, hand_over, release, twin, write_json};
use crate::abi::{MobillmComponent, MobillmStatus, MobillmText, MobillmWriter};

/// What is of a slot about it.
pub(crate) trait Door: 'static {
    /// The trait of the slot's config twins.
    type Config: ?Sized;
    /// What the host knows when it checks, and when it builds.
    type Checked: DeserializeOwned;
    type Built: DeserializeOwned;
    /// What is handed over.
    type Instance;

    fn makers() -> Vec<Maker<Self::Config>>;

    fn check(config: &Self::Config, known: &Self::Checked) -> Result<Vec<Diagnostic>, Ending>;

    fn build(config: &Self::Config, known: &Self::Built) -> Result<Self::Instance, Ending>;
}

/// The functions of the slot `D`.
pub(crate) const fn component<D: Door>() -> MobillmComponent {
    MobillmComponent { check: check::<D>, build: build::<D>, release: release::<D::Instance> }
}

unsafe extern "C" fn check<D: Door>(
    tag: MobillmText,
    options: MobillmText,
    known: MobillmText,
    diagnostics: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, texts and writers are lent for the call.
    unsafe {
        guard(error, || {
            let config = twin(D::makers(), tag, options)?;
            write_json(diagnostics, &D::check(&config, &context(known)?)?)
        })
    }
}

unsafe extern "C" fn build<D: Door>(
    tag: MobillmText,
    options: MobillmText,
    known: MobillmText,
    instance: *mut *mut c_void,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, texts, writer and the place of the instance are lent for the call.
    unsafe {
        guard(error, || {
            let config = twin(D::makers(), tag, options)?;
            hand_over(D::build(&config, &context(known)?)?, instance);
            Ok(())
        })
    }
}
