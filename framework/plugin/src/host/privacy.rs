//! A privacy policy on the other side.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::activations::SelectedMut;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    AnswerScale, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, Purpose,
    ReleaseContext, Supervision,
};
use mobillm_core::sample::{Objective, SampleId, Truth};
use serde::{Deserialize, Serialize};

use super::component::Chosen;
use super::instance::{CallError, Instance};
use super::interned::interned;
use crate::abi::{
    MOBILLM_OK, MOBILLM_PREDICT, MOBILLM_REFUSED, MOBILLM_TRAIN, MobillmPrivacyPolicy,
    MobillmStatus, MobillmSupervision, MobillmSupervisionSink,
};
use crate::tensors::Lent;
use crate::{handle, layout, supervision};

/// The config twin of every privacy policy that is loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoadedPrivacyPolicyConfig(Chosen);

#[typetag::serde(name = "loaded")]
impl PrivacyPolicyConfig for LoadedPrivacyPolicyConfig {
    fn check(&self, objective: &Objective) -> Vec<Diagnostic> {
        let found = self.0.check::<MobillmPrivacyPolicy>(objective);
        // `build` cannot say that it failed: so it is tried here, where that has a place in the config.
        match found.is_empty().then(|| LoadedPrivacyPolicy::new(&self.0, objective)) {
            Some(Err(error)) => vec![Diagnostic::new("", error.to_string())],
            _ => found,
        }
    }

    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy> {
        match LoadedPrivacyPolicy::new(&self.0, objective) {
            Ok(policy) => Box::new(policy),
            Err(error) => Box::new(Unbuilt(error)),
        }
    }
}

struct LoadedPrivacyPolicy {
    instance: Instance<MobillmPrivacyPolicy>,
    tag: &'static str,
    info: PolicyInfo,
    /// Calls come one at a time: `combine` takes a shared reference, so this must not be `Sync`.
    one_at_a_time: PhantomData<Cell<()>>,
}

impl LoadedPrivacyPolicy {
    fn new(chosen: &Chosen, objective: &Objective) -> Result<Self, CallError> {
        let instance = chosen.build::<MobillmPrivacyPolicy>(objective)?;
        // SAFETY: the instance is of this table, and the writers live for the call.
        let info = instance.json(&"info", |table, instance, out, error| unsafe {
            (table.info)(instance, out, error)
        })?;
        let tag = interned(&chosen.tag);
        Ok(Self { instance, tag, info, one_at_a_time: PhantomData })
    }

    fn refused(&self, problem: String) -> PolicyError {
        PolicyError::Refused { policy: self.tag, problem }
    }

    fn failed(&self, error: CallError) -> PolicyError {
        match error {
            CallError::Refused { problem, .. } => self.refused(problem),
            error => PolicyError::Plugin(error.into()),
        }
    }
}

impl PrivacyPolicy for LoadedPrivacyPolicy {
    fn info(&self) -> PolicyInfo {
        self.info.clone()
    }

    fn activations(
        &mut self,
        context: &ReleaseContext<'_>,
        selected: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        let (names, samples) = (context.samples.len(), selected.layout().samples());
        if names != samples {
            return Err(self.refused(format!("{names} names for {samples} samples")));
        }
        let names: Vec<u64> = context.samples.iter().map(|name| name.0).collect();
        let purpose = match context.purpose {
            Purpose::Train => MOBILLM_TRAIN,
            Purpose::Predict => MOBILLM_PREDICT,
        };
        let (layer, layout) = (selected.layer(), layout::lend(selected.layout()));
        let shape = selected.rows_mut().dim().into();
        let rows = Lent::of_mut(selected.values_mut(), shape);
        // SAFETY: the instance is of this table; layout, names and rows live for the call, and nobody else
        // looks at the rows.
        let changed = self.instance.call(&"activations", |table, instance, error| unsafe {
            let names = names.as_ptr();
            (table.activations)(instance, layer, &layout, names, purpose, &rows.tensor(), error)
        });
        changed.map_err(|error| self.failed(error))
    }

    fn supervise(
        &mut self,
        sample: SampleId,
        truth: Truth,
        own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        let truth = match truth {
            Truth::Class(class) => Supervision::Label(class),
            Truth::Value(value) => Supervision::Value(value),
        };
        let truth = supervision::lend(&truth).map_err(|problem| self.refused(problem))?;
        let mut told = Told { outputs: own.len(), supervision: None, problem: None };
        let own = Lent::of(own, [own.len()]);
        let ended = {
            let handle = handle::lend(&mut told);
            let sink = MobillmSupervisionSink { context: handle.context(), supervision: take };
            // SAFETY: the instance is of this table; truth, own prediction and sink live for the call.
            self.instance.call(&"supervise", |table, instance, error| unsafe {
                (table.supervise)(instance, sample.0, &truth, &own.tensor(), &sink, error)
            })
        };
        if let Some(problem) = told.problem {
            return Err(PolicyError::Plugin(self.instance.lied("supervise", problem).into()));
        }
        ended.map_err(|error| self.failed(error))?;
        Ok(told.supervision)
    }

    fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        let (outputs, others) = (own.len(), side.len());
        if outputs != others {
            let problem = format!(
                "{others} outputs of the side network, expected {outputs}, as of the backbone"
            );
            return Err(self.refused(problem));
        }
        let (lent_own, lent_side) = (Lent::of(own, [own.len()]), Lent::of_mut(side, [side.len()]));
        // SAFETY: the instance is of this table, and both tensors live for the call.
        let combined = self.instance.call(&"combine", |table, instance, error| unsafe {
            (table.combine)(instance, &lent_own.tensor(), &lent_side.tensor(), error)
        });
        combined.map_err(|error| self.failed(error))
    }
}

/// What a policy told the sink.
struct Told {
    /// Outputs of the task: no supervision has more numbers.
    outputs: usize,
    supervision: Option<Supervision>,
    /// What was wrong with it.
    problem: Option<String>,
}

impl Told {
    fn take(&mut self, read: Result<Supervision, String>) -> MobillmStatus {
        let read = match self.supervision {
            Some(_) => Err("it told the supervision of a sample twice".to_owned()),
            None => read,
        };
        match read {
            Ok(read) => {
                self.supervision = Some(read);
                MOBILLM_OK
            }
            Err(problem) => {
                self.problem.get_or_insert(problem);
                MOBILLM_REFUSED
            }
        }
    }
}

/// # Safety
/// The supervision is lent for this call.
unsafe extern "C" fn take(
    context: *mut c_void,
    supervision: *const MobillmSupervision,
) -> MobillmStatus {
    // SAFETY: as the caller promises, and nothing that was told has a lifetime.
    let taken = unsafe {
        handle::reach(context, |told: &mut Told| {
            let read = supervision::read(supervision, told.outputs);
            told.take(read)
        })
    };
    taken.unwrap_or(MOBILLM_REFUSED)
}

/// A policy that could not be built: nothing leaves by it, and it says why.
struct Unbuilt(CallError);

impl Unbuilt {
    fn error<T>(&self) -> Result<T, PolicyError> {
        Err(PolicyError::Plugin(self.0.clone().into()))
    }
}

impl PrivacyPolicy for Unbuilt {
    fn info(&self) -> PolicyInfo {
        let guarantee = format!("nothing leaves: {}", self.0);
        PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee }
    }

    fn activations(
        &mut self,
        _: &ReleaseContext<'_>,
        _: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        self.error()
    }

    fn supervise(
        &mut self,
        _: SampleId,
        _: Truth,
        _: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        self.error()
    }

    fn combine(&self, _: &[f32], _: &mut [f32]) -> Result<(), PolicyError> {
        self.error()
    }
}
