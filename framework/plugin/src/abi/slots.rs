//! The table of each slot, after its trait in `mobillm-core`. All functions must be there.

use std::ffi::c_void;

use super::{
    DLTensor, MobillmBuffer, MobillmBytes, MobillmComponent, MobillmStatus, MobillmText,
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
    ) -> MobillmStatus,
    /// Bytes of an encoded row of `hidden` values.
    pub row_bytes: unsafe extern "C" fn(
        instance: *mut c_void,
        hidden: usize,
        bytes: *mut usize,
    ) -> MobillmStatus,
    /// For each value of `row`, f32 `[hidden]`, the most that decoding may differ from it, to `bound`.
    pub error_bound: unsafe extern "C" fn(
        instance: *mut c_void,
        row: *const DLTensor,
        bound: *const DLTensor,
    ) -> MobillmStatus,
    /// Encodes `rows`, f32 `[rows, hidden]`, all finite, to `out`, which holds just their bytes. A value that the code
    /// cannot hold is refused: the error is then a JSON object with `row`, `column`, `value` and `expected`.
    pub encode: unsafe extern "C" fn(
        instance: *mut c_void,
        rows: *const DLTensor,
        out: MobillmBuffer,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Decodes what `encode` wrote to `rows`, f32 `[rows, hidden]`.
    pub decode: unsafe extern "C" fn(
        instance: *mut c_void,
        bytes: MobillmBytes,
        rows: *const DLTensor,
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
    pub hidden: *const DLTensor,
    /// Tokens of each sample that are no padding, `[batch]`.
    pub lengths: *const usize,
}

/// Where a backbone puts what it computed. It is the host's, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmTapSink {
    /// The host's own; to be given back to its functions.
    pub context: *mut c_void,
    /// Takes a tap, before the next layer runs. If it does not return [`super::MOBILLM_OK`], the forward pass ends with that.
    pub tap: unsafe extern "C" fn(context: *mut c_void, tap: *const MobillmTap) -> MobillmStatus,
    /// Takes the own prediction, f32 `[batch, outputs]`.
    pub own_prediction:
        unsafe extern "C" fn(context: *mut c_void, scores: *const DLTensor) -> MobillmStatus,
}

/// Backbones: forward passes of the frozen model, hidden states handed out layer by layer.
///
/// Context of `check`: the model's info; of `build`: `bundle` (a folder), `taps` (layers, ascending), `label_tokens`,
/// `libraries` (paths of native libraries by name).
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
    /// Runs the model on `ids` and `segments`, i64 `[batch, tokens]`, padding on the right of `lengths`.
    pub forward: unsafe extern "C" fn(
        instance: *mut c_void,
        ids: *const DLTensor,
        segments: *const DLTensor,
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
    /// Takes `rows`, f32 `[rows, hidden]`, laid out as `layout` says. To be called once.
    pub selected: unsafe extern "C" fn(
        context: *mut c_void,
        layout: *const MobillmLayout,
        rows: *const DLTensor,
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
    /// Rows of a sample of `tokens` tokens; the most of them if that is not `fixed`.
    pub rows: unsafe extern "C" fn(
        instance: *mut c_void,
        tokens: usize,
        rows: *mut usize,
        fixed: *mut bool,
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
    /// What else there is, `[count]`.
    pub numbers: *const f32,
    /// How many numbers.
    pub count: usize,
}

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
/// Context of `check` and of `build`: the objective, `"regression"` or `{"classification": {"classes": 2}}`.
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
    /// `predicts` is true if they are for an answer only, which spends no privacy budget.
    pub activations: unsafe extern "C" fn(
        instance: *mut c_void,
        layer: usize,
        layout: *const MobillmLayout,
        samples: *const u64,
        predicts: bool,
        rows: *const DLTensor,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// What the server is told of `sample`, whose truth (`MOBILLM_LABEL` or `MOBILLM_VALUE`) and own prediction, f32 `[outputs]`, these are.
    pub supervise: unsafe extern "C" fn(
        instance: *mut c_void,
        sample: u64,
        truth: *const MobillmSupervision,
        own: *const DLTensor,
        sink: *const MobillmSupervisionSink,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Combines the own prediction with what the side network says, in place of the latter; both f32 `[outputs]`.
    pub combine: unsafe extern "C" fn(
        instance: *mut c_void,
        own: *const DLTensor,
        side: *const DLTensor,
    ) -> MobillmStatus,
}

/// A link's two halves. They are released one by one, by `release_sink` and `release_source`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmLink {
    /// What frames are sent by.
    pub sink: *mut c_void,
    /// What they come from.
    pub source: *mut c_void,
}

/// Transports: frames between two ends. Calls block; the host gives them threads of their own. `close` of a sink
/// must end a `receive` of the other end, with [`super::MOBILLM_CLOSED`].
///
/// Some refusals have numbers that the host looks at. The error is then a JSON object: of `connect` and `listen`, where
/// an address is the reason, `address` and `problem`; of a frame over the limit, `bytes` and `limit`; of `receive`, if
/// the link ends within a frame, `expected` and `got`, in bytes.
///
/// Context of `check` and of `build`: `{}`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmTransport {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How transports are made.
    pub component: MobillmComponent,
    /// Whether the two ends may be of different processes; `options` as for `build`.
    pub crosses_processes: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        crosses: *mut bool,
    ) -> MobillmStatus,
    /// Bytes that the transport adds to a frame.
    pub overhead: unsafe extern "C" fn(instance: *mut c_void, bytes: *mut usize) -> MobillmStatus,
    /// Connects to the other end.
    pub connect: unsafe extern "C" fn(
        instance: *mut c_void,
        link: *mut MobillmLink,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Listens, and writes the address to connect to.
    pub listen: unsafe extern "C" fn(
        instance: *mut c_void,
        listener: *mut *mut c_void,
        address: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Waits for the next link.
    pub accept: unsafe extern "C" fn(
        listener: *mut c_void,
        link: *mut MobillmLink,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Sends a frame; `bulk` is true for activations, false for control. Waits while the other end is behind, and gives
    /// [`super::MOBILLM_CLOSED`] if the link is closed.
    pub send: unsafe extern "C" fn(
        sink: *mut c_void,
        frame: MobillmBytes,
        bulk: bool,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Sends what is left and closes the link in order. To close again does nothing.
    pub close:
        unsafe extern "C" fn(sink: *mut c_void, error: *const MobillmWriter) -> MobillmStatus,
    /// Waits for the next frame and writes it.
    pub receive: unsafe extern "C" fn(
        source: *mut c_void,
        frame: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Takes a listener back; nobody waits for it any more.
    pub release_listener: unsafe extern "C" fn(listener: *mut c_void),
    /// Takes a sink back, and with it what is open of the link: the other end's `receive` ends.
    pub release_sink: unsafe extern "C" fn(sink: *mut c_void),
    /// Takes a source back: the other end's `send` fails.
    pub release_source: unsafe extern "C" fn(source: *mut c_void),
}

/// Side networks: what is trained, and what the device later predicts with.
///
/// What `train_step` and `predict` refuse is the batch, what the others refuse is the file. If the loss is no
/// longer finite, `train_step` refuses with a JSON object, `step` and `loss` (text), and has changed nothing.
///
/// Context of `check` and of `build`: `taps`, `hidden`, `pooling`, `objective`, `supervision`, `optimizer`, `steps`, `seed`, `bundle`.
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
    /// Writes a JSON object: `engine`, `architecture`, `parameters`, `taps`, `hidden`, `objective`, `bundle`, `additive`.
    pub info: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Trains on `taps` tensors, f32 `[rows, hidden]` each, laid out as `layout`, and one supervision a sample. Writes a JSON object
    /// with `step`, `loss` and `learning_rate`.
    pub train_step: unsafe extern "C" fn(
        instance: *mut c_void,
        layout: *const MobillmLayout,
        taps: *const DLTensor,
        count: usize,
        supervision: *const MobillmSupervision,
        report: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes each sample's scores to `scores`, f32 `[samples, outputs]`.
    pub predict: unsafe extern "C" fn(
        instance: *mut c_void,
        layout: *const MobillmLayout,
        taps: *const DLTensor,
        count: usize,
        scores: *const DLTensor,
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
