//! A side network on the other side.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::activations::ActivationBatch;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::Supervision;
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError, SideNetworkInfo,
    StepReport,
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::component::Chosen;
use super::hang;
use super::instance::{CallError, Instance, outcome};
use super::interned::interned;
use crate::abi::{
    MobillmBytes, MobillmSideNetwork, MobillmStatus, MobillmSupervision, MobillmTensor,
    MobillmText, MobillmWriter,
};
use crate::context::Task;
use crate::refusal::Diverged;
use crate::tensors::Lent;
use crate::text::{written, written_bytes};
use crate::{layout, supervision};

/// The most bytes of an engine's name.
const LONGEST_ENGINE: usize = 256;

/// The most outputs of a side network: each is a number in memory for every sample.
const MOST_OUTPUTS: usize = 1 << 20;

/// The config twin of every side network that is loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoadedSideNetworkConfig(Chosen);

#[typetag::serde(name = "loaded")]
impl SideNetworkConfig for LoadedSideNetworkConfig {
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        self.0.check::<MobillmSideNetwork>(context)
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let instance = self.0.build::<MobillmSideNetwork>(context).map_err(plugin)?;
        let network = LoadedSideNetwork::new(instance).map_err(plugin)?;
        match network.info.misfit(context) {
            None => Ok(Box::new(network)),
            Some(misfit) => Err(plugin(network.instance.lied("info", misfit))),
        }
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let instance = load(&self.0, adapter).map_err(of_file)?;
        Ok(Box::new(LoadedSideNetwork::new(instance).map_err(plugin)?))
    }
}

fn load(chosen: &Chosen, adapter: &[u8]) -> Result<Instance<MobillmSideNetwork>, CallError> {
    let (name, table) = chosen.table::<MobillmSideNetwork>()?;
    let options = Value::Object(chosen.options.clone()).to_string();
    let mut instance = std::ptr::null_mut();
    let _out = hang::out(name, &"load");
    // SAFETY: the table has all its functions; texts, bytes, writer and place live for the call.
    let (status, error) = written(|error| unsafe {
        let (tag, options) = (MobillmText::of(&chosen.tag), MobillmText::of(&options));
        (table.load)(tag, options, MobillmBytes::of(adapter), &mut instance, error)
    });
    outcome(name, "load", status, &error)?;
    Instance::new(name, table, instance, table.component.release)
}

/// What a side network says of itself, as it crosses.
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkInfo {
    engine: String,
    architecture: String,
    parameters: usize,
    taps: Vec<usize>,
    hidden: usize,
    objective: Task,
    bundle: Fingerprint,
    additive: bool,
}

impl NetworkInfo {
    pub(crate) fn into_core(self) -> SideNetworkInfo {
        let Self { engine, architecture, parameters, taps, hidden, objective, bundle, additive } =
            self;
        let (engine, Task(objective)) = (interned(&engine), objective);
        SideNetworkInfo {
            engine,
            architecture,
            parameters,
            taps,
            hidden,
            objective,
            bundle,
            additive,
        }
    }
}

struct LoadedSideNetwork {
    instance: Instance<MobillmSideNetwork>,
    info: SideNetworkInfo,
    /// Calls come one at a time: `predict` takes a shared reference, so this must not be `Sync`.
    one_at_a_time: PhantomData<Cell<()>>,
}

impl LoadedSideNetwork {
    fn new(instance: Instance<MobillmSideNetwork>) -> Result<Self, CallError> {
        // SAFETY: the instance is of this table, and the writers live for the call.
        let info: NetworkInfo = instance.json(&"info", |table, instance, out, error| unsafe {
            (table.info)(instance, out, error)
        })?;
        // It is kept for ever.
        if info.engine.len() > LONGEST_ENGINE {
            let problem = format!("the engine's name has {} bytes", info.engine.len());
            return Err(
                instance.lied("info", format!("{problem}, expected at most {LONGEST_ENGINE}"))
            );
        }
        let info = info.into_core();
        let outputs = info.objective.outputs();
        if outputs > MOST_OUTPUTS {
            let problem = format!("{outputs} outputs, expected at most {MOST_OUTPUTS}");
            return Err(instance.lied("info", problem));
        }
        Ok(Self { instance, info, one_at_a_time: PhantomData })
    }

    /// Zeros of the shape `[samples, outputs]`, of which the outputs are as many as the plugin says.
    fn zeros(&self, [samples, outputs]: [usize; 2]) -> Result<Vec<f32>, CallError> {
        let mut zeros = Vec::new();
        let length = samples.checked_mul(outputs);
        match length.filter(|length| zeros.try_reserve_exact(*length).is_ok()) {
            Some(length) => zeros.resize(length, 0.0),
            None => {
                let problem = format!("{outputs} outputs, which is more than the memory holds");
                return Err(self.instance.lied("info", problem));
            }
        }
        Ok(zeros)
    }

    /// What a function of the table writes.
    fn written(
        &self,
        call: &'static &'static str,
        function: unsafe extern "C" fn(
            *mut c_void,
            *const MobillmWriter,
            *const MobillmWriter,
        ) -> MobillmStatus,
    ) -> Result<Vec<u8>, SideNetworkError> {
        let (asked, written) = written_bytes(|out| {
            // SAFETY: the function is of this instance's table, and the writers live for the call.
            self.instance.call(call, |_, instance, error| unsafe { function(instance, out, error) })
        });
        asked.map_err(of_file)?;
        written.bytes().map_err(|problem| plugin(self.instance.lied(call, problem)))
    }
}

/// The taps of a batch, lent.
fn lend(batch: &ActivationBatch) -> Vec<Lent<2>> {
    let shape = [batch.layout().rows(), batch.hidden()];
    (0..batch.taps()).map(|tap| Lent::of(batch.tap(tap), shape)).collect()
}

fn plugin(error: CallError) -> SideNetworkError {
    SideNetworkError::Plugin(error.into())
}

/// The error of a call that was given, or asked for, a file.
fn of_file(error: CallError) -> SideNetworkError {
    match error {
        CallError::Refused { problem, .. } => SideNetworkError::Adapter { problem },
        error => plugin(error),
    }
}

/// The error of a call that was given a batch.
fn of_batch(error: CallError) -> SideNetworkError {
    match error {
        CallError::Refused { problem, .. } => match serde_json::from_str::<Diverged>(&problem) {
            Ok(diverged) => diverged.into(),
            Err(_) => SideNetworkError::Batch { problem },
        },
        error => plugin(error),
    }
}

impl SideNetwork for LoadedSideNetwork {
    fn info(&self) -> &SideNetworkInfo {
        &self.info
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        let (targets, samples) = (supervision.len(), batch.layout().samples());
        if targets != samples {
            let problem = format!("{targets} targets for {samples} samples");
            return Err(SideNetworkError::Batch { problem });
        }
        let targets = supervision.iter().map(supervision::lend);
        let targets: Result<Vec<MobillmSupervision>, _> = targets.collect();
        let targets = targets.map_err(|problem| SideNetworkError::Batch { problem })?;
        let (layout, lent) = (layout::lend(batch.layout()), lend(batch));
        let taps: Vec<MobillmTensor> = lent.iter().map(Lent::tensor).collect();
        // SAFETY: the instance is of this table; layout, taps, a target for each sample and the writers live for
        // the call.
        let report = self.instance.json(&"train_step", |table, instance, report, error| unsafe {
            let (targets, count) = (targets.as_ptr(), taps.len());
            (table.train_step)(instance, &layout, taps.as_ptr(), count, targets, report, error)
        });
        report.map_err(of_batch)
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        let shape = [batch.layout().samples(), self.info.objective.outputs()];
        let mut scores = self.zeros(shape).map_err(plugin)?;
        let (layout, lent) = (layout::lend(batch.layout()), lend(batch));
        let taps: Vec<MobillmTensor> = lent.iter().map(Lent::tensor).collect();
        let out = Lent::of_mut(&mut scores, shape);
        // SAFETY: the instance is of this table; layout, taps and scores live for the call.
        let predicted = self.instance.call(&"predict", |table, instance, error| unsafe {
            let count = taps.len();
            (table.predict)(instance, &layout, taps.as_ptr(), count, &out.tensor(), error)
        });
        predicted.map_err(of_batch)?;
        Array2::from_shape_vec(shape, scores)
            .map_err(|error| plugin(self.instance.lied("predict", error.to_string())))
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.written(&"adapter", self.instance.table.adapter)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.written(&"checkpoint", self.instance.table.checkpoint)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        let bytes = MobillmBytes::of(checkpoint);
        // SAFETY: the instance is of this table, and the bytes live for the call.
        let restored = self.instance.call(&"restore", |table, instance, error| unsafe {
            (table.restore)(instance, bytes, error)
        });
        restored.map_err(of_file)
    }
}
