//! A backbone's table.

use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, ForwardContext, Tap, TapSink,
    TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use ndarray::ArrayView2;

use super::component::{Door, component};
use super::list::{Exports, Maker};
use super::thunk::{Ending, guard, write_json};
use crate::abi::{
    MOBILLM_OK, MobillmBackbone, MobillmStatus, MobillmTapSink, MobillmTensor, MobillmWriter,
};
use crate::context::Info;
use crate::layout::list;
use crate::tap;
use crate::tensors::{Lent, view};

type Instance = Box<dyn Backbone>;

/// The table of the backbones of `E`.
pub(crate) struct BackboneDoor<E>(PhantomData<E>);

impl<E: Exports> BackboneDoor<E> {
    pub(crate) const TABLE: &'static MobillmBackbone = &MobillmBackbone {
        size: size_of::<MobillmBackbone>(),
        component: component::<Self>(),
        info,
        forward,
    };
}

impl<E: Exports> Door for BackboneDoor<E> {
    type Config = dyn BackboneConfig;
    type Checked = Info;
    type Built = BackboneContext;
    type Instance = Instance;

    fn makers() -> Vec<Maker<Self::Config>> {
        E::components().backbones
    }

    fn check(config: &Self::Config, known: &Info) -> Result<Vec<Diagnostic>, Ending> {
        Ok(config.check(&known.0))
    }

    fn build(config: &Self::Config, known: &BackboneContext) -> Result<Instance, Ending> {
        config.build(known).map_err(Ending::failed)
    }
}

/// # Safety
/// The instance is one of `build`, and there is no other call of it.
unsafe fn backbone<'a>(instance: *mut c_void) -> &'a mut dyn Backbone {
    // SAFETY: as the caller promises.
    unsafe { &mut **instance.cast::<Instance>() }
}

unsafe extern "C" fn info(
    instance: *mut c_void,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the instance is of `build`, calls come one at a time, and the writers are lent.
    unsafe { guard(error, || write_json(out, backbone(instance).info())) }
}

unsafe extern "C" fn forward(
    instance: *mut c_void,
    ids: *const MobillmTensor,
    segments: *const MobillmTensor,
    lengths: *const usize,
    sink: *const MobillmTapSink,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; tensors, a length for each sample and the sink are lent for the call.
    unsafe {
        guard(error, || {
            let batch = batch(ids, segments, lengths)?;
            let mut sink = HostSink(&*sink);
            let own = backbone(instance).forward(&batch, &ForwardContext::default(), &mut sink);
            match own.map_err(ending)? {
                Some(own) => sink.own_prediction(own.view()).map_err(Ending::failed),
                None => Ok(()),
            }
        })
    }
}

/// # Safety
/// The tensors are what they say, and there is a length for each sample.
unsafe fn batch(
    ids: *const MobillmTensor,
    segments: *const MobillmTensor,
    lengths: *const usize,
) -> Result<TokenBatch, Ending> {
    // SAFETY: as the caller promises.
    let (ids, segments) = unsafe { (view::<i64, 2>(ids), view::<i64, 2>(segments)) };
    let (ids, segments) = (ids.map_err(Ending::Refused)?, segments.map_err(Ending::Refused)?);
    // SAFETY: as the caller promises.
    let lengths = unsafe { list("lengths", lengths, ids.nrows()) }.map_err(Ending::Refused)?;
    TokenBatch::padded(ids.to_owned(), segments.to_owned(), lengths.to_vec()).map_err(ending)
}

fn ending(error: BackboneError) -> Ending {
    match error {
        BackboneError::Batch { .. } => Ending::Refused(error.to_string()),
        _ => Ending::failed(error),
    }
}

/// The host's sink.
struct HostSink<'a>(&'a MobillmTapSink);

impl TapSink for HostSink<'_> {
    fn tap(&mut self, tap: Tap<'_>) -> Result<(), BoxError> {
        // SAFETY: as the ABI says, the sink takes a tap that is lent for the call.
        let taken = tap::lend(&tap, |tap| unsafe { (self.0.tap)(self.0.context, tap) })?;
        took(taken)
    }
}

impl HostSink<'_> {
    /// Takes `scores`, `[batch, outputs]`.
    fn own_prediction(&mut self, scores: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        let scores = scores.as_standard_layout();
        #[expect(clippy::expect_used, reason = "the standard layout is contiguous")]
        let values = scores.as_slice().expect("the standard layout is contiguous");
        let lent = Lent::of(values, scores.dim().into());
        // SAFETY: as the ABI says, the sink takes scores that are lent for the call.
        took(unsafe { (self.0.own_prediction)(self.0.context, &lent.tensor()) })
    }
}

fn took(status: MobillmStatus) -> Result<(), BoxError> {
    match status {
        MOBILLM_OK => Ok(()),
        status => Err(format!("the host takes no more (status {status})").into()),
    }
}
