//! A privacy policy's table.

use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::activations::SelectedMut;
use mobillm_core::privacy::{PolicyError, PrivacyPolicy, Purpose, ReleaseContext, Supervision};
use mobillm_core::sample::{Objective, SampleId, Truth};

use super::list::Exports;
use super::thunk::{
    Ending, context, guard, hand_over, release, twin, write_diagnostics, write_json,
};
use crate::abi::{
    DLTensor, MOBILLM_OK, MobillmComponent, MobillmLayout, MobillmPrivacyPolicy, MobillmStatus,
    MobillmSupervision, MobillmSupervisionSink, MobillmText, MobillmWriter,
};
use crate::layout::list;
use crate::tensors::{view, view_mut};
use crate::{layout, supervision};

type Instance = Box<dyn PrivacyPolicy>;

/// The table of the privacy policies of `E`.
pub(crate) struct PrivacyPolicyDoor<E>(PhantomData<E>);

impl<E: Exports> PrivacyPolicyDoor<E> {
    pub(crate) const TABLE: &'static MobillmPrivacyPolicy = &MobillmPrivacyPolicy {
        size: size_of::<MobillmPrivacyPolicy>(),
        component: MobillmComponent {
            check: check::<E>,
            build: build::<E>,
            release: release::<Instance>,
        },
        info,
        activations,
        supervise,
        combine,
    };
}

unsafe extern "C" fn check<E: Exports>(
    tag: MobillmText,
    options: MobillmText,
    known: MobillmText,
    diagnostics: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, texts and writers are lent for the call.
    unsafe {
        guard(error, || {
            let config = twin(E::components().privacy_policies, tag, options)?;
            write_diagnostics(diagnostics, &config.check(&context::<Objective>(known)?))
        })
    }
}

unsafe extern "C" fn build<E: Exports>(
    tag: MobillmText,
    options: MobillmText,
    known: MobillmText,
    instance: *mut *mut c_void,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, texts, writer and the place of the instance are lent for the call.
    unsafe {
        guard(error, || {
            let config = twin(E::components().privacy_policies, tag, options)?;
            let built: Instance = config.build(&context::<Objective>(known)?);
            hand_over(built, instance);
            Ok(())
        })
    }
}

/// # Safety
/// The instance is one of `build`, and no other call on it is under way.
unsafe fn policy<'a>(instance: *mut c_void) -> &'a mut dyn PrivacyPolicy {
    // SAFETY: as the caller promises.
    unsafe { &mut **instance.cast::<Instance>() }
}

fn ending(error: PolicyError) -> Ending {
    match error {
        PolicyError::Refused { problem, .. } => Ending::Refused(problem),
        error => Ending::failed(error),
    }
}

unsafe extern "C" fn info(
    instance: *mut c_void,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the instance is of `build`, calls come one at a time, and the writers are lent
    // for the call.
    unsafe { guard(error, || write_json(out, &policy(instance).info())) }
}

unsafe extern "C" fn activations(
    instance: *mut c_void,
    layer: usize,
    layout: *const MobillmLayout,
    samples: *const u64,
    predicts: bool,
    rows: *const DLTensor,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; layout, names and rows are what they say, and lent for the call.
    unsafe {
        guard(error, || {
            let mut rows = view_mut::<f32, 2>(rows).map_err(Ending::Refused)?;
            let (count, hidden) = rows.dim();
            let layout = layout::read(layout, count).map_err(Ending::Refused)?;
            let names = list("names of the samples", samples, layout.samples());
            let names = names.map_err(Ending::Refused)?.iter().copied().map(SampleId);
            let purpose = if predicts { Purpose::Predict } else { Purpose::Train };
            let context = ReleaseContext { samples: &names.collect::<Vec<_>>(), purpose };
            let values = rows.as_slice_mut().unwrap_or_default();
            let selected = SelectedMut::new(layer, &layout, hidden, values);
            let mut selected = selected.map_err(|error| Ending::Refused(error.to_string()))?;
            policy(instance).activations(&context, &mut selected).map_err(ending)
        })
    }
}

unsafe extern "C" fn supervise(
    instance: *mut c_void,
    sample: u64,
    truth: *const MobillmSupervision,
    own: *const DLTensor,
    sink: *const MobillmSupervisionSink,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; truth, own prediction and sink are lent for the call, too.
    unsafe {
        guard(error, || {
            let truth = match supervision::read(truth, 1).map_err(Ending::Refused)? {
                Supervision::Label(class) => Truth::Class(class),
                Supervision::Value(value) => Truth::Value(value),
                other => return Err(Ending::Refused(format!("{other:?} is no truth"))),
            };
            let own = view::<f32, 1>(own).map_err(Ending::Refused)?;
            let own = own.to_slice().unwrap_or_default();
            let told = policy(instance).supervise(SampleId(sample), truth, own).map_err(ending)?;
            let Some(told) = told else { return Ok(()) };
            let sink =
                sink.as_ref().ok_or_else(|| Ending::Refused("there is no sink".to_owned()))?;
            let lent = supervision::lend(&told).map_err(Ending::Failed)?;
            match (sink.supervision)(sink.context, &lent) {
                MOBILLM_OK => Ok(()),
                status => {
                    Err(Ending::Failed(format!("the host did not take {told:?} (status {status})")))
                }
            }
        })
    }
}

unsafe extern "C" fn combine(
    instance: *mut c_void,
    own: *const DLTensor,
    side: *const DLTensor,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(std::ptr::null(), || {
            let own = view::<f32, 1>(own).map_err(Ending::Refused)?;
            let mut side = view_mut::<f32, 1>(side).map_err(Ending::Refused)?;
            let (own, side) = (own.to_slice(), side.as_slice_mut());
            policy(instance).combine(own.unwrap_or_default(), side.unwrap_or_default());
            Ok(())
        })
    }
}
