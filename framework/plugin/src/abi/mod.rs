//! What crosses the door: plain C data, and nothing that a compiler lays out as it likes.
//!
//! A library exports one symbol, [`SYMBOL`], a function that returns a pointer to its [`MobillmPlugin`], the same at every
//! call. The host reads it in this order, and goes no further than what fits: magic, major version, size, the
//! rest; then it calls `start`, once, then `components`, and asks for the table of a slot when a config names a component of it.
//!
//! ## What grows
//! * The header, [`MobillmHost`] and the tables of the slots grow at their end only, and `size` says how much of one there
//!   is. What is in version 1.0 is always there; what came later is there if `size` covers it, and may be null.
//! * Every other struct stays as it is for ever. What needs more comes as another function of a table.
//! * Constants are added. Who is given one that it does not know refuses; a status that is not known is a failure.
//! * JSON objects get more members, and who reads one passes over those that it does not know.
//!
//! ## Memory
//! * Who allocates frees. What a plugin has to say it writes to a [`MobillmWriter`] of the host's, in any number of parts; an
//!   instance goes back to its table's `release`. So no memory changes hands.
//! * What a call is given is lent: pointers to texts, tensors, writers and sinks are void when it returns. None is null but where
//!   that is said. What is lent to a callback must not change before that returns.
//! * Of tensors only these may be written, the others are read: `bound` of `error_bound`, `rows` of `decode` and of `activations`,
//!   `side` of `combine`, `scores` of `predict`.
//! * Tensors ([`MobillmTensor`]) are on the CPU, contiguous, and stay where they are. Text is UTF-8 with a length.
//!
//! ## Calls
//! * A call that can fail returns a [`MobillmStatus`], and writes why to `error`, its last parameter, as a sentence for people.
//!   Unless it is [`MOBILLM_OK`], the host looks at nothing else that the call gave and releases nothing; what was to be
//!   changed in place is void; the instance goes on being used.
//! * After [`MOBILLM_PANICKED`] only `release` is called. A plugin never unwinds out of a call: the kit for Rust authors
//!   catches panics.
//! * Calls on one instance come one at a time, from any thread; those on quantizers and transports, from several threads
//!   at once. Listeners, sinks and sources are instances of their own: the halves of a link may be called and released at
//!   the same time. `check`, `build`, `load`, `crosses_processes` and the functions of the header but `start` come from any thread, too.
//! * Writers and sinks are called by the thread that was called, one call at a time, and only before it returns. What
//!   breaks that is refused.
//! * An instance is built, asked for its `info` and released also when a config is only looked at: none of this has an effect
//!   outside. What it says of itself (`info`, `format`, `row_bytes`, `layers`, `rows`) is the same at every call and for equal options.
//! * `release` comes last, when no call is out, from any thread, and does not wait. When the process ends, calls may be
//!   out and instances not released. A library is never unloaded.
//!
//! ## JSON
//! Numbers of steps and seeds need all 64 bits. A path is a string; a `bundle` in an info is 64 hexadecimal digits.
//! * info of a model: `architecture` (text), `layers`, `hidden`, `max_tokens`, `vocabulary` (numbers), `pooling` (`"first-token"`, `"mean"`
//!   or `"last-token"`), `own_outputs` (a number, or null if it makes no prediction), `language_head` (true, or not there), `bundle`.
//! * objective: `"regression"`, or an object whose one member names it: `{"classification": {"classes": 2}}`.
//! * diagnostics: a list, `[]` if all is well, of objects with `path` (of the option; empty for the whole), `message`, and, or null, `expected`
//!   and `help`.

mod slots;
mod tensor;
mod transport;

use std::ffi::c_void;

pub use slots::*;
pub use tensor::*;
pub use transport::*;

/// What a header starts with.
pub const MAGIC: [u8; 8] = *b"mobillm\0";
/// The version of the layout up to which nothing that is here moves. Another major version is another ABI.
pub const MAJOR: u32 = 1;
/// How often something was appended.
pub const MINOR: u32 = 0;
/// The exported function, of the type [`MobillmEntry`].
pub const SYMBOL: &str = "mobillm_plugin";

/// The function that a library exports as [`SYMBOL`].
pub type MobillmEntry = unsafe extern "C" fn() -> *const MobillmPlugin;

/// How a call ended: one of the constants `MOBILLM_*`. Any other value counts as [`MOBILLM_FAILED`].
pub type MobillmStatus = u32;
/// It did what was asked.
pub const MOBILLM_OK: MobillmStatus = 0;
/// What it was given is wrong: a config, a value, a payload. The instance goes on.
pub const MOBILLM_REFUSED: MobillmStatus = 1;
/// It could not do it. The instance goes on.
pub const MOBILLM_FAILED: MobillmStatus = 2;
/// It panicked: the host does not use the instance again but for `release`.
pub const MOBILLM_PANICKED: MobillmStatus = 3;
/// Of transports: the link was closed by the other end, in order, or the call was stopped.
pub const MOBILLM_CLOSED: MobillmStatus = 4;

/// The slot of a table: one of the constants `MOBILLM_SLOT_*`.
pub type MobillmSlot = u32;
/// A table of the type [`MobillmBackbone`].
pub const MOBILLM_SLOT_BACKBONE: MobillmSlot = 0;
/// A table of the type [`MobillmSelector`].
pub const MOBILLM_SLOT_SELECTOR: MobillmSlot = 1;
/// A table of the type [`MobillmPrivacyPolicy`].
pub const MOBILLM_SLOT_PRIVACY_POLICY: MobillmSlot = 2;
/// A table of the type [`MobillmQuantizer`].
pub const MOBILLM_SLOT_QUANTIZER: MobillmSlot = 3;
/// A table of the type [`MobillmTransport`].
pub const MOBILLM_SLOT_TRANSPORT: MobillmSlot = 4;
/// A table of the type [`MobillmSideNetwork`].
pub const MOBILLM_SLOT_SIDE_NETWORK: MobillmSlot = 5;

/// UTF-8, lent for the call; no zero at its end.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmText {
    /// Its first byte; may be null if it is empty.
    pub data: *const u8,
    /// Bytes.
    pub length: usize,
}

/// Bytes, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmBytes {
    /// The first one; may be null if there are none.
    pub data: *const u8,
    /// How many.
    pub length: usize,
}

/// Bytes to be written, all of them, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmBuffer {
    /// The first one; may be null if there are none.
    pub data: *mut u8,
    /// How many.
    pub length: usize,
}

/// Where a plugin writes text or bytes. It is the host's, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmWriter {
    /// The host's own; to be given back to `write`.
    pub context: *mut c_void,
    /// Appends bytes. If it does not return [`MOBILLM_OK`], there is no room for more, and the call ends as failed.
    pub write: unsafe extern "C" fn(context: *mut c_void, bytes: MobillmBytes) -> MobillmStatus,
}

/// [`MobillmHost::log`]: something does not work.
pub const MOBILLM_LOG_ERROR: u32 = 0;
/// [`MobillmHost::log`]: something may not be what the user wants.
pub const MOBILLM_LOG_WARNING: u32 = 1;
/// [`MobillmHost::log`]: something that the user may want to know.
pub const MOBILLM_LOG_NOTE: u32 = 2;

/// What a plugin may ask of the host, from any thread, as long as the process lives. Each library is given its own.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmHost {
    /// Bytes of this table that there are.
    pub size: usize,
    /// The host's own; to be given back to its functions.
    pub context: *mut c_void,
    /// Says a line to the user, at a level `MOBILLM_LOG_*`.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: u32, line: MobillmText),
}

/// The header of a library, which lives as long as the process. Magic, major, minor and size never change.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmPlugin {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`MAJOR`] of the ABI that it was built for.
    pub major: u32,
    /// [`MINOR`] of it.
    pub minor: u32,
    /// Bytes of this header.
    pub size: usize,
    /// The library's name, such as `acme-codes`.
    pub name: MobillmText,
    /// The library's own version.
    pub version: MobillmText,
    /// The compiler that built it, for people.
    pub built_by: MobillmText,
    /// Called once, before the functions below; the host outlives everything.
    pub start: unsafe extern "C" fn(
        host: *const MobillmHost,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes what the library has as JSON: a list of objects with `slot` (`"backbone"`, `"selector"`, `"privacy-policy"`, `"quantizer"`,
    /// `"transport"` or `"side-network"`; those of another one are passed over), `tag` (`"acme.q8"`) and `schema`, the JSON schema of its
    /// options, whose `description` is a line of help.
    pub components: unsafe extern "C" fn(
        out: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// The table of a slot, which lives as long as the process; null if there is none that has all that `min_minor` has. Pure.
    pub table: unsafe extern "C" fn(slot: MobillmSlot, min_minor: u32) -> *const c_void,
}

// SAFETY: a header is constant data.
unsafe impl Sync for MobillmPlugin {}
// SAFETY: its context is only handed back to its functions, which any thread may call.
unsafe impl Sync for MobillmHost {}

/// How the components of a slot are made: the same for every slot, from any thread, also at the same time.
///
/// `tag` says which component, `options` is a JSON object without its `type`, and `context` what the host knows,
/// as JSON; each slot's table says what.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmComponent {
    /// Everything that is wrong with the options, to `diagnostics`. That there is something is no failure. Pure.
    pub check: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        context: MobillmText,
        diagnostics: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// An instance, not null, to be released once.
    pub build: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        context: MobillmText,
        instance: *mut *mut c_void,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Takes an instance back. It cannot fail.
    pub release: unsafe extern "C" fn(instance: *mut c_void),
}
