//! The table of each slot, after its trait in `mobillm-core`. All functions of version 1.0 must be there.

use std::ffi::c_void;

use super::{
    MobillmBuffer, MobillmBytes, MobillmComponent, MobillmStatus, MobillmTensor, MobillmText,
    MobillmWriter,
};

/// What the bytes of a quantizer are: the first eight bytes of a payload's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct MobillmPayloadFormat {
    /// A name of up to four letters, zeros after it.
    pub name: [u8; 4],
    /// Version of the code.
    pub version: u8,
    /// Bits of its own.
    pub flags: u8,
    /// Values of a block, if there are blocks.
    pub block: u16,
}

/// Quantizers: rows of f32 to bytes and back, each row by itself.
///
/// Context of `check`: `{"hidden": 576}`; of `build`: `{}`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmQuantizer {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How quantizers are made.
    pub component: MobillmComponent,
    /// What the bytes are.
    pub format: unsafe extern "C" fn(
        instance: *mut c_void,
        format: *mut MobillmPayloadFormat,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Bytes of an encoded row of `hidden` values.
    pub row_bytes: unsafe extern "C" fn(
        instance: *mut c_void,
        hidden: usize,
        bytes: *mut usize,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// For each value of `row`, f32 `[hidden]`, the most that decoding may differ from it, to `bound`.
    pub error_bound: unsafe extern "C" fn(
        instance: *mut c_void,
        row: *const MobillmTensor,
        bound: *const MobillmTensor,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Encodes `rows`, f32 `[rows, hidden]`, all finite, to `out`, which holds just their bytes. A value that the code
    /// cannot hold is refused ([`super::MOBILLM_REFUSED`]): the error is then a JSON object with `row`, `column`, `value` (as text) and
    /// `expected` (a text).
    pub encode: unsafe extern "C" fn(
        instance: *mut c_void,
        rows: *const MobillmTensor,
        out: MobillmBuffer,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Decodes what `encode` wrote to `rows`, f32 `[rows, hidden]`. The bytes are as many as `row_bytes` says, and may be
    /// damaged.
    pub decode: unsafe extern "C" fn(
        instance: *mut c_void,
        bytes: MobillmBytes,
        rows: *const MobillmTensor,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
}

/// Which rows belong to which sample, and the token that each came from.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmLayout {
    /// Where each sample's rows begin, and where the last one's end: `[samples + 1]`, from 0, ascending.
    pub offsets: *const u32,
    /// Samples.
    pub samples: usize,
    /// For each row the token that it came from, `[offsets[samples]]`.
    pub positions: *const u32,
}

/// A layer's hidden state, as the backbone hands it out.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmTap {
    /// 0 is the embedding, i the output of layer i.
    pub layer: usize,
    /// f32 `[batch, tokens, hidden]`.
    pub hidden: *const MobillmTensor,
    /// Tokens of each sample that are no padding, `[batch]`.
    pub lengths: *const usize,
}

/// Where a backbone puts what it computed. It is the host's, lent for the call. If one of its functions does not return
/// [`super::MOBILLM_OK`], the forward pass ends as failed.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmTapSink {
    /// The host's own; to be given back to its functions.
    pub context: *mut c_void,
    /// Takes a tap, before the next layer runs: each of those that `build` named, once, in ascending order, with the `lengths` of the batch.
    pub tap: unsafe extern "C" fn(context: *mut c_void, tap: *const MobillmTap) -> MobillmStatus,
    /// Takes the own prediction, f32 `[batch, own_outputs]`, once; not to be called if `info` has none.
    pub own_prediction:
        unsafe extern "C" fn(context: *mut c_void, scores: *const MobillmTensor) -> MobillmStatus,
}

/// Backbones: forward passes of the frozen model, hidden states handed out layer by layer.
///
/// Context of `check`: the model's info; of `build`: an object with `bundle` (the path of a folder), `taps` (layers, ascending), `label_tokens`
/// (token ids: if there are any, the own prediction is their scores) and `libraries` (an object: paths of native libraries by name).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmBackbone {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How backbones are made.
    pub component: MobillmComponent,
    /// Writes the model's info as JSON.
    pub info: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Runs the model on `ids` and `segments`, i64 `[batch, tokens]`; of each sample `lengths`, `[batch]`, are tokens, and what is right of
    /// them is padding.
    pub forward: unsafe extern "C" fn(
        instance: *mut c_void,
        ids: *const MobillmTensor,
        segments: *const MobillmTensor,
        lengths: *const usize,
        sink: *const MobillmTapSink,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
}

/// Where a selector puts its rows. It is the host's, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmSelection {
    /// The host's own; to be given back to `select`.
    pub context: *mut c_void,
    /// Takes `rows`, f32 `[rows, hidden]`, laid out as `layout` says. To be called once. If it does not return [`super::MOBILLM_OK`], `select`
    /// ends as failed.
    pub selected: unsafe extern "C" fn(
        context: *mut c_void,
        layout: *const MobillmLayout,
        rows: *const MobillmTensor,
    ) -> MobillmStatus,
}

/// Selectors: which layers and tokens go on.
///
/// Context of `check` and of `build`: the model's info.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmSelector {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How selectors are made.
    pub component: MobillmComponent,
    /// Writes the layers to tap of the model of `info` (JSON) as a JSON list, ascending.
    pub layers: unsafe extern "C" fn(
        instance: *mut c_void,
        info: MobillmText,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Rows of a sample of `tokens` tokens, at most as many. `fixed` is 1 if it has always so many, 0 if that is the most.
    pub rows: unsafe extern "C" fn(
        instance: *mut c_void,
        tokens: usize,
        rows: *mut usize,
        fixed: *mut u32,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Selects rows of a tap.
    pub select: unsafe extern "C" fn(
        instance: *mut c_void,
        tap: *const MobillmTap,
        selection: *const MobillmSelection,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
}

/// [`MobillmSupervision`]: the class.
pub const MOBILLM_LABEL: u32 = 0;
/// [`MobillmSupervision`]: the scaled target of a regression, in `numbers[0]`.
pub const MOBILLM_VALUE: u32 = 1;
/// [`MobillmSupervision`]: for each output the truth less the device's own prediction, in `numbers`.
pub const MOBILLM_DIFFERENCE: u32 = 2;
/// [`MobillmSupervision`]: the class, and the device's own logits in `numbers`.
pub const MOBILLM_LABEL_AND_OWN: u32 = 3;

/// What the server trains on, for one sample.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmSupervision {
    /// One of `MOBILLM_LABEL`, `MOBILLM_VALUE`, `MOBILLM_DIFFERENCE` and `MOBILLM_LABEL_AND_OWN`.
    pub kind: u32,
    /// The class, if there is one.
    pub label: u32,
    /// What else there is, `[count]`; may be null if there are none.
    pub numbers: *const f32,
    /// How many numbers: 0 for a label, 1 for a value, else one an output.
    pub count: usize,
}

/// Rows that the server trains on.
pub const MOBILLM_TRAIN: u32 = 0;
/// Rows for an answer only, which spends no privacy budget.
pub const MOBILLM_PREDICT: u32 = 1;

/// Where a policy puts the supervision of a sample. It is the host's, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmSupervisionSink {
    /// The host's own; to be given back to `supervision`.
    pub context: *mut c_void,
    /// Takes it. To be called once, or not at all if nothing is released.
    pub supervision: unsafe extern "C" fn(
        context: *mut c_void,
        supervision: *const MobillmSupervision,
    ) -> MobillmStatus,
}

/// Privacy policies: what the server may see.
///
/// Context of `check` and of `build`: the objective.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmPrivacyPolicy {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How policies are made.
    pub component: MobillmComponent,
    /// Writes a JSON object: `supervision` (`"truth"`, `"difference"`, `"truth-and-own"` or null), `answers` (`"raw"` or
    /// `"probability"`), `guarantee` (a sentence).
    pub info: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Changes `rows`, f32 `[rows, hidden]` of layer `layer`, in place. `samples` are their names, `[layout.samples]`;
    /// `purpose` is [`MOBILLM_TRAIN`] or [`MOBILLM_PREDICT`].
    pub activations: unsafe extern "C" fn(
        instance: *mut c_void,
        layer: usize,
        layout: *const MobillmLayout,
        samples: *const u64,
        purpose: u32,
        rows: *const MobillmTensor,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// What the server is told of `sample`, whose truth (`MOBILLM_LABEL` or `MOBILLM_VALUE`) and own prediction, f32 `[outputs]`, these are.
    pub supervise: unsafe extern "C" fn(
        instance: *mut c_void,
        sample: u64,
        truth: *const MobillmSupervision,
        own: *const MobillmTensor,
        sink: *const MobillmSupervisionSink,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Combines the own prediction with what the side network says, in place of the latter; both f32 `[outputs]`.
    pub combine: unsafe extern "C" fn(
        instance: *mut c_void,
        own: *const MobillmTensor,
        side: *const MobillmTensor,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
}

/// Side networks: what is trained, and what the device later predicts with.
///
/// What `train_step` and `predict` refuse is the batch, what the others refuse is the file. If the loss is no
/// longer finite, `train_step` refuses with a JSON object, `step` and `loss` (text), and has changed nothing.
///
/// Context of `check` and of `build`: an object with `taps` (layers, ascending), `hidden`, `pooling` and `bundle` (as in a model's info), `objective`,
/// `supervision` (`"truth"`, `"difference"` or `"truth-and-own"`), `optimizer` (an object of numbers: `learning_rate`, `weight_decay`, `beta1`, `beta2`,
/// `warmup`, `clip`), `steps` and `seed`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmSideNetwork {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How side networks are made.
    pub component: MobillmComponent,
    /// A side network from an adapter file, to predict with.
    pub load: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        adapter: MobillmBytes,
        instance: *mut *mut c_void,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes a JSON object: `engine` and `architecture` (texts), `parameters` (a number), `taps`, `hidden`, `objective` and `bundle` (as in the
    /// context), `additive` (whether the device adds the scores to its own prediction).
    pub info: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Trains on the `count` tensors `taps`, f32 `[rows, hidden]` each, laid out as `layout`, and one supervision a sample. Writes a JSON object
    /// with the numbers `step` (from 0), `loss` and `learning_rate`.
    pub train_step: unsafe extern "C" fn(
        instance: *mut c_void,
        layout: *const MobillmLayout,
        taps: *const MobillmTensor,
        count: usize,
        supervision: *const MobillmSupervision,
        report: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes each sample's scores to `scores`, f32 `[samples, outputs]`.
    pub predict: unsafe extern "C" fn(
        instance: *mut c_void,
        layout: *const MobillmLayout,
        taps: *const MobillmTensor,
        count: usize,
        scores: *const MobillmTensor,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes the adapter file.
    pub adapter: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes all that training goes on from.
    pub checkpoint: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Goes back to a checkpoint.
    pub restore: unsafe extern "C" fn(
        instance: *mut c_void,
        checkpoint: MobillmBytes,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
}
