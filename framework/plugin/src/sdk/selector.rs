//! A selector's table.

use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};

use super::component::{Door, component};
use super::list::{Exports, Maker};
use super::thunk::{Ending, context, guard, write_json};
use crate::abi::{
    MOBILLM_OK, MobillmSelection, MobillmSelector, MobillmStatus, MobillmTap, MobillmText,
    MobillmWriter,
};
use crate::context::Info;
use crate::tensors::Lent;
use crate::{layout, tap};

pub(crate) struct Instance {
    selector: Box<dyn Selector>,
    /// Of the last tap's rows, for the next ones.
    memory: Vec<f32>,
}

/// The table of the selectors of `E`.
pub(crate) struct SelectorDoor<E>(PhantomData<E>);

impl<E: Exports> SelectorDoor<E> {
    pub(crate) const TABLE: &'static MobillmSelector = &MobillmSelector {
        size: size_of::<MobillmSelector>(),
        component: component::<Self>(),
        layers,
        rows,
        select,
    };
}

impl<E: Exports> Door for SelectorDoor<E> {
    type Config = dyn SelectorConfig;
    type Checked = Info;
    type Built = Info;
    type Instance = Instance;

    fn makers() -> Vec<Maker<Self::Config>> {
        E::components().selectors
    }

    fn check(config: &Self::Config, known: &Info) -> Result<Vec<Diagnostic>, Ending> {
        Ok(config.check(&known.0))
    }

    fn build(config: &Self::Config, known: &Info) -> Result<Instance, Ending> {
        Ok(Instance { selector: config.build(&known.0), memory: Vec::new() })
    }
}

/// # Safety
/// The instance is one of `build`, and there is no other call of it.
unsafe fn selector<'a>(instance: *mut c_void) -> &'a mut Instance {
    // SAFETY: as the caller promises.
    unsafe { &mut *instance.cast::<Instance>() }
}

unsafe extern "C" fn layers(
    instance: *mut c_void,
    info: MobillmText,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the instance is of `build`, calls come one at a time, and text and writers are lent.
    unsafe {
        guard(error, || {
            let Info(info) = context(info)?;
            write_json(out, &selector(instance).selector.layers(&info))
        })
    }
}

unsafe extern "C" fn rows(
    instance: *mut c_void,
    tokens: usize,
    rows: *mut usize,
    fixed: *mut u32,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; both places are lent for the call.
    unsafe {
        guard(error, || {
            let Instance { selector, .. } = selector(instance);
            rows.write(selector.rows(tokens));
            fixed.write(selector.is_fixed().into());
            Ok(())
        })
    }
}

unsafe extern "C" fn select(
    instance: *mut c_void,
    tap: *const MobillmTap,
    selection: *const MobillmSelection,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; tap and selection are lent for the call.
    unsafe {
        guard(error, || {
            let Instance { selector, memory } = selector(instance);
            let tap = tap::read(tap, None).map_err(Ending::Refused)?;
            let chosen = selector.select(&tap, std::mem::take(memory)).map_err(ending)?;
            let rows = Lent::of(chosen.values(), chosen.rows().dim().into());
            let MobillmSelection { context, selected } = *selection;
            let taken = selected(context, &layout::lend(chosen.layout()), &rows.tensor());
            *memory = chosen.into_values();
            match taken {
                MOBILLM_OK => Ok(()),
                status => {
                    Err(Ending::Failed(format!("the host did not take the rows (status {status})")))
                }
            }
        })
    }
}

fn ending(error: SelectorError) -> Ending {
    match error {
        SelectorError::Shape(_) | SelectorError::Tap { .. } => Ending::Refused(error.to_string()),
        _ => Ending::failed(error),
    }
}
