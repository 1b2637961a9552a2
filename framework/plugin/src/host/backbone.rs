//! A backbone on the other side.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    OwnPrediction, Tap, TapSink, TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::component::Chosen;
use super::hang;
use super::instance::{CallError, Instance};
use crate::abi::{
    MOBILLM_FAILED, MOBILLM_OK, MobillmBackbone, MobillmStatus, MobillmTap, MobillmTapSink,
    MobillmTensor,
};
use crate::context::Info;
use crate::tensors::{Lent, view};
use crate::{handle, tap};

/// The config twin of every backbone that is loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoadedBackboneConfig(Chosen);

#[typetag::serde(name = "loaded")]
impl BackboneConfig for LoadedBackboneConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        self.0.check::<MobillmBackbone>(info)
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        let known = serde_json::to_value(context).map_err(|error| BackboneError::Bundle {
            path: context.bundle.clone(),
            problem: format!(
                "its path or that of a native library cannot cross to a plugin: {error}"
            ),
        })?;
        let instance = self.0.build::<MobillmBackbone>(&known).map_err(plugin)?;
        // SAFETY: the instance is of this table, and the writers live for the call.
        let info = instance.json(&"info", |table, instance, out, error| unsafe {
            (table.info)(instance, out, error)
        });
        let Info(info) = info.map_err(plugin)?;
        plausible(&info, context).map_err(|problem| plugin(instance.lied("info", problem)))?;
        Ok(Box::new(LoadedBackbone { instance, info, taps: context.taps.clone() }))
    }
}

fn plugin(error: CallError) -> BackboneError {
    BackboneError::Plugin(error.into())
}

/// Whether a backbone of `info` can do what `context` asks for.
fn plausible(info: &BackboneInfo, context: &BackboneContext) -> Result<(), String> {
    let BackboneInfo { hidden, max_tokens, vocabulary, own_outputs, .. } = *info;
    for (name, number) in
        [("hidden", hidden), ("max_tokens", max_tokens), ("vocabulary", vocabulary)]
    {
        if number == 0 {
            return Err(format!("`{name}` is 0"));
        }
    }
    let answers = context.label_tokens.len();
    if own_outputs == Some(0) || answers > 0 && own_outputs != Some(answers) {
        return Err(format!("`own_outputs` is {own_outputs:?} for {answers} label tokens"));
    }
    context.check(info).map_err(|error| error.to_string())
}

struct LoadedBackbone {
    instance: Instance<MobillmBackbone>,
    info: BackboneInfo,
    taps: Vec<usize>,
}

impl Backbone for LoadedBackbone {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        _: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        batch.check(&self.info)?;
        let (ids, segments) = (lend(batch.ids()), lend(batch.segments()));
        let mut pass = Pass { backbone: self, batch, sink, arrived: 0, own: None, ended: None };
        let lengths = batch.lengths().as_ptr();
        let called = {
            let handle = handle::lend(&mut pass);
            let context = handle.context();
            let sink = MobillmTapSink { context, tap: take_tap, own_prediction };
            // SAFETY: the instance is of this table; tensors, lengths, sink and writer live for the call.
            self.instance.call(&"forward", |table, instance, error| unsafe {
                (table.forward)(instance, &ids.tensor(), &segments.tensor(), lengths, &sink, error)
            })
        };
        pass.end(called)
    }
}

/// Tokens `[batch, tokens]`.
fn lend(tokens: ArrayView2<'_, i64>) -> Lent<2> {
    #[expect(clippy::expect_used, reason = "a `TokenBatch` has them row after row")]
    let values = tokens.to_slice().expect("contiguous rows");
    Lent::of(values, tokens.dim().into())
}

/// A forward pass on its way.
struct Pass<'a> {
    backbone: &'a LoadedBackbone,
    batch: &'a TokenBatch,
    sink: &'a mut dyn TapSink,
    /// Taps that were passed on.
    arrived: usize,
    own: OwnPrediction,
    /// Why nothing is taken any more.
    ended: Option<Ended>,
}

enum Ended {
    /// By an error of the sink.
    Refused { layer: usize, source: BoxError },
    /// By a panic of the sink, which goes on behind the plugin's own frames.
    Panicked(Box<dyn Any + Send>),
    /// By something of the plugin's that is wrong.
    Lied(String),
}

impl Pass<'_> {
    /// Passes a tap on, if it is the next one.
    ///
    /// # Safety
    /// The tap is what it says, lent for the call.
    unsafe fn tap(&mut self, tap: *const MobillmTap) -> Result<(), Ended> {
        let (batch, tokens) = self.batch.ids().dim();
        let shape = (batch, tokens, self.backbone.info.hidden);
        // SAFETY: as the caller promises.
        let tap = unsafe { tap::read(tap, Some(shape)) }.map_err(Ended::Lied)?;
        let layer = tap.layer;
        let problem = match self.backbone.taps.get(self.arrived) {
            Some(&expected) if expected != layer => Some(format!("expected layer {expected}")),
            None => Some("expected no more".to_owned()),
            _ if tap.lengths != self.batch.lengths() => {
                Some("its lengths are not those of the batch".to_owned())
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Ended::Lied(format!("tap {} is layer {layer}: {problem}", self.arrived)));
        }
        let tap = Tap { layer, hidden: tap.hidden, lengths: self.batch.lengths() };
        let sink = AssertUnwindSafe(|| self.sink.tap(tap));
        // A sink may wait for a slow link: that is not the plugin's time.
        let passed = {
            let _host = hang::back();
            catch_unwind(sink)
        };
        match passed {
            Ok(Ok(())) => self.arrived += 1,
            Ok(Err(source)) => return Err(Ended::Refused { layer, source }),
            Err(panic) => return Err(Ended::Panicked(panic)),
        }
        Ok(())
    }

    /// Keeps the own prediction.
    ///
    /// # Safety
    /// The tensor is what it says, lent for the call.
    unsafe fn own(&mut self, scores: *const MobillmTensor) -> Result<(), Ended> {
        let lied = |problem: String| Err(Ended::Lied(format!("the own prediction: {problem}")));
        // SAFETY: as the caller promises.
        let scores = match unsafe { view::<f32, 2>(scores) } {
            Ok(scores) => scores,
            Err(problem) => return lied(problem),
        };
        let (got, samples) = (scores.dim(), self.batch.samples());
        match self.backbone.info.own_outputs {
            None => return lied("`info` says that there is none".to_owned()),
            Some(outputs) if got != (samples, outputs) => {
                return lied(format!("it is {got:?}, expected {:?}", (samples, outputs)));
            }
            Some(_) if self.own.is_some() => return lied("it came twice".to_owned()),
            Some(_) => self.own = Some(scores.to_owned()),
        }
        Ok(())
    }

    /// Takes something, unless the pass has ended, and says whether it goes on.
    fn take(&mut self, take: impl FnOnce(&mut Self) -> Result<(), Ended>) -> MobillmStatus {
        if self.ended.is_none() {
            self.ended = take(self).err();
        }
        if self.ended.is_none() { MOBILLM_OK } else { MOBILLM_FAILED }
    }

    /// What came of it, once `forward` has come back.
    fn end(self, called: Result<(), CallError>) -> Result<OwnPrediction, BackboneError> {
        let LoadedBackbone { instance, info, taps } = self.backbone;
        let lied = |problem: String| Err(plugin(instance.lied("forward", problem)));
        // Why the host took no more is the reason for how the call ended.
        match self.ended {
            Some(Ended::Refused { layer, source }) => Err(BackboneError::Sink { layer, source }),
            Some(Ended::Panicked(panic)) => resume_unwind(panic),
            Some(Ended::Lied(problem)) => lied(problem),
            None => {
                called.map_err(plugin)?;
                match taps.get(self.arrived) {
                    Some(layer) => lied(format!("layer {layer} did not come")),
                    None if self.own.is_none() && info.own_outputs.is_some() => {
                        lied("the own prediction did not come".to_owned())
                    }
                    None => Ok(self.own),
                }
            }
        }
    }
}

/// # Safety
/// The tap is lent for this call.
unsafe extern "C" fn take_tap(context: *mut c_void, tap: *const MobillmTap) -> MobillmStatus {
    // SAFETY: as the caller promises, and nothing is kept of what the pass borrows.
    let status =
        unsafe { handle::reach(context, |pass: &mut Pass<'_>| pass.take(|pass| pass.tap(tap))) };
    status.unwrap_or(MOBILLM_FAILED)
}

/// # Safety
/// The scores are lent for this call.
unsafe extern "C" fn own_prediction(
    context: *mut c_void,
    scores: *const MobillmTensor,
) -> MobillmStatus {
    // SAFETY: as above.
    let status =
        unsafe { handle::reach(context, |pass: &mut Pass<'_>| pass.take(|pass| pass.own(scores))) };
    status.unwrap_or(MOBILLM_FAILED)
}

#[cfg(test)]
mod tests {
    use std::ptr::{from_ref, null};

    use mobillm_core::backbone::{Pooling, Tokens};
    use mobillm_core::fingerprint::Fingerprint;

    use super::*;
    use crate::abi::{MOBILLM_REFUSED, MobillmWriter};
    use crate::host::component::NONE;
    use crate::host::instance::Name;

    /// What a backbone in C does with a batch of one sample of one token, and says that all is well.
    #[derive(Clone, Copy)]
    enum Does {
        Right,
        Nothing,
        WithoutTap,
        WithoutHidden,
        WithoutLengths,
        WithoutScores,
        ScoresTwice,
    }

    unsafe extern "C" fn forward(
        instance: *mut c_void,
        _: *const MobillmTensor,
        _: *const MobillmTensor,
        lengths: *const usize,
        sink: *const MobillmTapSink,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        let (hidden, scores) =
            (Lent::of(&[0.5_f32; 2], [1, 1, 2]), Lent::of(&[0.25_f32; 3], [1, 3]));
        let (hidden, scores) = (hidden.tensor(), scores.tensor());
        let right = MobillmTap { layer: 1, hidden: &hidden, lengths };
        // SAFETY: the sink lives for the call, and so does what is not null.
        let tap = |tap: *const _| unsafe { ((*sink).tap)((*sink).context, tap) };
        // SAFETY: as above.
        let own = |own: *const _| unsafe { ((*sink).own_prediction)((*sink).context, own) };
        // SAFETY: the instance is one.
        match unsafe { *instance.cast::<Does>() } {
            Does::Right => tap(&right) + own(&scores),
            Does::Nothing => MOBILLM_OK,
            Does::WithoutTap => tap(null()),
            Does::WithoutHidden => tap(&MobillmTap { hidden: null(), ..right }),
            Does::WithoutLengths => tap(&MobillmTap { lengths: null(), ..right }),
            Does::WithoutScores => tap(&right) + own(null()),
            Does::ScoresTwice => tap(&right) + own(&scores) + own(&scores),
        };
        MOBILLM_OK
    }

    unsafe extern "C" fn info(
        _: *mut c_void,
        _: *const MobillmWriter,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        MOBILLM_REFUSED
    }

    static TABLE: MobillmBackbone =
        MobillmBackbone { size: size_of::<MobillmBackbone>(), component: NONE, info, forward };

    fn pass(does: Does) -> Result<OwnPrediction, BackboneError> {
        let name = Box::leak(Box::new(Name::new("backbone `acme.odd` of acme 1".to_owned())));
        let pointer = from_ref(&does).cast_mut().cast();
        let instance = Instance::new(name, &TABLE, pointer, NONE.release).unwrap();
        let info = BackboneInfo {
            architecture: "test".into(),
            layers: 1,
            hidden: 2,
            max_tokens: 16,
            vocabulary: 100,
            pooling: Pooling::Mean,
            own_outputs: Some(3),
            language_head: false,
            bundle: Fingerprint::of(b"test"),
        };
        let mut backbone = LoadedBackbone { instance, info, taps: vec![1] };
        let batch = TokenBatch::new(&[Tokens { ids: vec![7], segments: vec![0] }], 0);
        backbone.forward(&batch, &ForwardContext::default(), &mut |_: Tap<'_>| Ok(()))
    }

    #[test]
    fn taps_and_scores_come_just_once_and_whole() {
        let own = pass(Does::Right).unwrap().unwrap();
        assert_eq!(own, ndarray::array![[0.25, 0.25, 0.25]]);
        for (does, problem) in [
            (Does::Nothing, "layer 1 did not come"),
            (Does::WithoutTap, "the tap is missing"),
            (Does::WithoutHidden, "layer 1: the tensor is missing"),
            (
                Does::WithoutLengths,
                "layer 1: the lengths are at 0x0, expected a multiple of 8 that is not 0",
            ),
            (Does::WithoutScores, "the own prediction: the tensor is missing"),
            (Does::ScoresTwice, "the own prediction: it came twice"),
        ] {
            let expected = format!(
                "backbone `acme.odd` of acme 1: forward gave something wrong: {problem}; tell the plugin's author"
            );
            assert_eq!(pass(does).unwrap_err().to_string(), expected);
        }
    }
}
