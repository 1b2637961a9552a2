//! The table of transports, the one slot whose calls wait by their nature.

use std::ffi::c_void;

use super::{MobillmBytes, MobillmComponent, MobillmStatus, MobillmText, MobillmWriter};

/// A link's two halves, each an instance of its own. They are released one by one, by `release_sink` and `release_source`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmLink {
    /// What frames are sent by.
    pub sink: *mut c_void,
    /// What they come from.
    pub source: *mut c_void,
}

/// A frame that steers a run.
pub const MOBILLM_CONTROL: u32 = 0;
/// A frame of activations.
pub const MOBILLM_BULK: u32 = 1;

/// Transports: frames between two ends. Calls block; the host gives them threads of their own. `close` of a sink, and its
/// release without that, end a `receive` of the other end with [`super::MOBILLM_CLOSED`]. An instance outlives its listeners and
/// links; a listener may go before the links that it accepted.
///
/// `accept`, `send`, `close` and `receive` may wait for ever, so each can be stopped. After `stop_listener`, `stop_sink` or
/// `stop_source` such a call returns [`super::MOBILLM_CLOSED`] at once, whether it began before or begins later. They come at
/// most once, from any thread, before, during or after a call, do not wait and cannot fail. `connect` must give up by itself.
///
/// Some errors have numbers that the host looks at. The error is then a JSON object, whether refused or failed: of `connect` and
/// `listen`, where an address is the reason, `address` and `problem` (texts); of a frame over the limit, `bytes` and `limit`; of
/// `receive`, if the link ends within a frame, `expected` and `got`, in bytes.
///
/// Context of `check` and of `build`: `{}`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmTransport {
    /// Bytes of this table that there are.
    pub size: usize,
    /// How transports are made.
    pub component: MobillmComponent,
    /// Whether the two ends may be of different processes, 1 or 0; `options` as for `build`.
    pub crosses_processes: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        crosses: *mut u32,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes a JSON object: `overhead`, the bytes that are added to a frame, the same at every call, and `emulated`: null, or of a network
    /// that is only imitated what it has cost so far, the numbers `up_seconds`, `down_seconds` and `lost_packets`, which never fall.
    pub info: unsafe extern "C" fn(
        instance: *mut c_void,
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
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
    /// Sends a frame; `lane` is [`MOBILLM_CONTROL`] or [`MOBILLM_BULK`]. Waits while the other end is behind, and gives
    /// [`super::MOBILLM_CLOSED`] if the link is closed.
    pub send: unsafe extern "C" fn(
        sink: *mut c_void,
        frame: MobillmBytes,
        lane: u32,
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
    /// Ends `accept`.
    pub stop_listener: unsafe extern "C" fn(listener: *mut c_void),
    /// Ends `send` and `close`.
    pub stop_sink: unsafe extern "C" fn(sink: *mut c_void),
    /// Ends `receive`.
    pub stop_source: unsafe extern "C" fn(source: *mut c_void),
    /// Takes a listener back; nobody waits for it any more.
    pub release_listener: unsafe extern "C" fn(listener: *mut c_void),
    /// Takes a sink back, and with it what is open of the link: the other end's `receive` ends.
    pub release_sink: unsafe extern "C" fn(sink: *mut c_void),
    /// Takes a source back: the other end's `send` fails.
    pub release_source: unsafe extern "C" fn(source: *mut c_void),
}
