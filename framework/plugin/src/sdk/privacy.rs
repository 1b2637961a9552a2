//! A privacy policy's table.

use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::activations::SelectedMut;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    PolicyError, PrivacyPolicy, PrivacyPolicyConfig, Purpose, ReleaseContext, Supervision,
};
use mobillm_core::sample::{SampleId, Truth};

use super::component::{Door, component};
use super::list::{Exports, Maker};
use super::thunk::{Ending, guard, write_json};
use crate::abi::{
    MOBILLM_OK, MOBILLM_PREDICT, MOBILLM_TRAIN, MobillmLayout, MobillmPrivacyPolicy, MobillmStatus,
    MobillmSupervision, MobillmSupervisionSink, MobillmTensor, MobillmWriter,
};
use crate::context::Task;
use crate::layout::list;
use crate::tensors::{elements, elements_mut};
use crate::{layout, supervision};

type Instance = Box<dyn PrivacyPolicy>;

/// The table of the privacy policies of `E`.
pub(crate) struct PrivacyPolicyDoor<E>(PhantomData<E>);

impl<E: Exports> PrivacyPolicyDoor<E> {
    pub(crate) const TABLE: &'static MobillmPrivacyPolicy = &MobillmPrivacyPolicy {
        size: size_of::<MobillmPrivacyPolicy>(),
        component: component::<Self>(),
        info,
        activations,
        supervise,
        combine,
    };
}

impl<E: Exports> Door for PrivacyPolicyDoor<E> {
    type Config = dyn PrivacyPolicyConfig;
    type Checked = Task;
    type Built = Task;
    type Instance = Instance;

    fn makers() -> Vec<Maker<Self::Config>> {
        E::components().privacy_policies
    }

    fn check(config: &Self::Config, known: &Task) -> Result<Vec<Diagnostic>, Ending> {
        Ok(config.check(&known.0))
    }

    fn build(config: &Self::Config, known: &Task) -> Result<Instance, Ending> {
        Ok(config.build(&known.0))
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
    purpose: u32,
    rows: *const MobillmTensor,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; layout, names and rows are what they say, and lent for the call.
    unsafe {
        guard(error, || {
            let (values, [count, hidden]) =
                elements_mut::<f32, 2>(rows).map_err(Ending::Refused)?;
            let layout = layout::read(layout, count).map_err(Ending::Refused)?;
            let names = list("names of the samples", samples, layout.samples());
            let names = names.map_err(Ending::Refused)?.iter().copied().map(SampleId);
            let purpose = match purpose {
                MOBILLM_TRAIN => Purpose::Train,
                MOBILLM_PREDICT => Purpose::Predict,
                other => return Err(Ending::Refused(format!("there is no purpose {other}"))),
            };
            let context = ReleaseContext { samples: &names.collect::<Vec<_>>(), purpose };
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
    own: *const MobillmTensor,
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
            let (own, [_]) = elements::<f32, 1>(own).map_err(Ending::Refused)?;
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
    own: *const MobillmTensor,
    side: *const MobillmTensor,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            let (own, [outputs]) = elements::<f32, 1>(own).map_err(Ending::Refused)?;
            let (side, [others]) = elements_mut::<f32, 1>(side).map_err(Ending::Refused)?;
            if outputs != others {
                let problem = format!("{others} outputs for an own prediction of {outputs}");
                return Err(Ending::Refused(problem));
            }
            policy(instance).combine(own, side).map_err(ending)
        })
    }
}
