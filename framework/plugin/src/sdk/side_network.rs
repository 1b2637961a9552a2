//! A side network's table.
//!
//! The taps of a batch are copied once: a network is given a batch of its own. Beside a training step
//! that is nothing.

use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::activations::ActivationBatch;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::side_network::{SideNetwork, SideNetworkConfig, SideNetworkError};

use super::component::{Door, component};
use super::list::{Exports, Maker};
use super::thunk::{Ending, guard, hand_over, twin, write_json};
use crate::abi::{
    MobillmBytes, MobillmLayout, MobillmSideNetwork, MobillmStatus, MobillmSupervision,
    MobillmTensor, MobillmText, MobillmWriter,
};
use crate::context::Training;
use crate::layout::{self, list};
use crate::refusal::Diverged;
use crate::supervision;
use crate::tensors::{elements_mut, view};
use crate::text::write;

type Instance = Box<dyn SideNetwork>;

/// The table of the side networks of `E`.
pub(crate) struct SideNetworkDoor<E>(PhantomData<E>);

impl<E: Exports> SideNetworkDoor<E> {
    pub(crate) const TABLE: &'static MobillmSideNetwork = &MobillmSideNetwork {
        size: size_of::<MobillmSideNetwork>(),
        component: component::<Self>(),
        load: load::<E>,
        info,
        train_step,
        predict,
        adapter,
        checkpoint,
        restore,
    };
}

impl<E: Exports> Door for SideNetworkDoor<E> {
    type Config = dyn SideNetworkConfig;
    type Checked = Training;
    type Built = Training;
    type Instance = Instance;

    fn makers() -> Vec<Maker<Self::Config>> {
        E::components().side_networks
    }

    fn check(config: &Self::Config, known: &Training) -> Result<Vec<Diagnostic>, Ending> {
        Ok(config.check(&known.0))
    }

    fn build(config: &Self::Config, known: &Training) -> Result<Instance, Ending> {
        config.build(&known.0).map_err(Ending::failed)
    }
}

unsafe extern "C" fn load<E: Exports>(
    tag: MobillmText,
    options: MobillmText,
    adapter: MobillmBytes,
    instance: *mut *mut c_void,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; the adapter is lent for the call, too.
    unsafe {
        guard(error, || {
            let config = twin(E::components().side_networks, tag, options)?;
            let adapter = adapter.read().map_err(Ending::Refused)?;
            let loaded: Instance = config.load(adapter).map_err(of_file)?;
            hand_over(loaded, instance);
            Ok(())
        })
    }
}

/// # Safety
/// The instance is one of `build` or `load`, and no other call on it is under way.
unsafe fn network<'a>(instance: *mut c_void) -> &'a mut dyn SideNetwork {
    // SAFETY: as the caller promises.
    unsafe { &mut **instance.cast::<Instance>() }
}

/// The end of a call that was given, or asked for, a file.
fn of_file(error: SideNetworkError) -> Ending {
    match error {
        SideNetworkError::Adapter { problem } => Ending::Refused(problem),
        error => Ending::failed(error),
    }
}

/// The end of a call that was given a batch.
fn of_batch(error: SideNetworkError) -> Ending {
    match error {
        SideNetworkError::Batch { problem } => Ending::Refused(problem),
        SideNetworkError::Diverged { step, loss } => {
            let json = serde_json::to_string(&Diverged::new(step, loss));
            json.map_or_else(Ending::failed, Ending::Refused)
        }
        error => Ending::failed(error),
    }
}

/// The batch that the host lent.
///
/// # Safety
/// Layout and taps are what they say, and lent for the call.
unsafe fn batch(
    layout: *const MobillmLayout,
    taps: *const MobillmTensor,
    count: usize,
) -> Result<ActivationBatch, String> {
    // SAFETY: as the caller promises.
    let taps = unsafe { list("taps", taps, count) }?;
    // SAFETY: as the caller promises.
    let taps = taps.iter().map(|tap| unsafe { view::<f32, 2>(tap) });
    let taps = taps.collect::<Result<Vec<_>, _>>()?;
    let Some(shape) = taps.first().map(|tap| tap.dim()) else {
        return Err("it has no taps".to_owned());
    };
    if let Some(other) = taps.iter().find(|tap| tap.dim() != shape) {
        return Err(format!("it has taps of {shape:?} and of {:?} rows and values", other.dim()));
    }
    let (rows, hidden) = shape;
    // SAFETY: as the caller promises.
    let layout = unsafe { layout::read(layout, rows) }?;
    let taps = taps.iter().map(|tap| tap.iter().copied().collect()).collect();
    ActivationBatch::new(layout, hidden, taps).map_err(|error| error.to_string())
}

unsafe extern "C" fn info(
    instance: *mut c_void,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the instance is of `build` or `load`, calls come one at a time, and the writers
    // are lent for the call.
    unsafe { guard(error, || write_json(out, network(instance).info())) }
}

unsafe extern "C" fn train_step(
    instance: *mut c_void,
    layout: *const MobillmLayout,
    taps: *const MobillmTensor,
    count: usize,
    targets: *const MobillmSupervision,
    report: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; layout and taps are what they say, there is a target for each sample, and all is lent for
    // the call.
    unsafe {
        guard(error, || {
            let batch = batch(layout, taps, count).map_err(Ending::Refused)?;
            let targets = list("targets", targets, batch.layout().samples());
            let targets = targets.map_err(Ending::Refused)?.iter();
            let targets = targets.map(|target| supervision::read(target, usize::MAX));
            let targets = targets.collect::<Result<Vec<_>, _>>().map_err(Ending::Refused)?;
            let step = network(instance).train_step(&batch, &targets).map_err(of_batch)?;
            write_json(report, &step)
        })
    }
}

unsafe extern "C" fn predict(
    instance: *mut c_void,
    layout: *const MobillmLayout,
    taps: *const MobillmTensor,
    count: usize,
    scores: *const MobillmTensor,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; nobody else looks at the scores.
    unsafe {
        guard(error, || {
            let batch = batch(layout, taps, count).map_err(Ending::Refused)?;
            let (scores, shape) = elements_mut::<f32, 2>(scores).map_err(Ending::Refused)?;
            let predicted = network(instance).predict(&batch).map_err(of_batch)?;
            if predicted.shape() != shape {
                let got = predicted.shape();
                return Err(Ending::Failed(format!("scores of {got:?}, expected {shape:?}")));
            }
            scores.iter_mut().zip(&predicted).for_each(|(score, &predicted)| *score = predicted);
            Ok(())
        })
    }
}

unsafe extern "C" fn adapter(
    instance: *mut c_void,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            write(out, &network(instance).adapter().map_err(of_file)?).map_err(Ending::Failed)
        })
    }
}

unsafe extern "C" fn checkpoint(
    instance: *mut c_void,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            write(out, &network(instance).checkpoint().map_err(of_file)?).map_err(Ending::Failed)
        })
    }
}

unsafe extern "C" fn restore(
    instance: *mut c_void,
    checkpoint: MobillmBytes,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; the bytes are lent for the call.
    unsafe {
        guard(error, || {
            let checkpoint = checkpoint.read().map_err(Ending::Refused)?;
            network(instance).restore(checkpoint).map_err(of_file)
        })
    }
}
