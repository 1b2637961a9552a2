//! What crosses the door: plain C data, and nothing that a compiler lays out as it likes.
//!
//! A library exports one symbol, [`SYMBOL`], a function that returns a pointer to its [`MobillmPlugin`].
//! The host reads it in this order, and goes no further than what fits: magic, major version, size,
//! then the table of each slot by [`MobillmPlugin::interface`]. Tables grow at their end only; `size` says how
//! much of one there is.
//!
//! * Text is UTF-8 with a length. Configs, infos and diagnostics are JSON: they are read once.
//! * Activations are tensors ([`DLTensor`]) on the CPU, contiguous, and stay where they are.
//! * Who allocates frees. What a plugin has to say it writes to a [`MobillmWriter`] of the host's; an
//!   instance goes back to its table's `release`. So no memory changes hands.
//! * Every call returns a [`MobillmStatus`]. A plugin does not unwind out of a call: the kit for Rust authors
//!   catches panics.
//! * Calls on one instance come one at a time, from any thread; those of quantizers and transports,
//!   from several threads at once.

mod slots;
mod tensor;

use std::ffi::c_void;

pub use slots::*;
pub use tensor::*;

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
/// It panicked: the instance must not be used again but for `release`.
pub const MOBILLM_PANICKED: MobillmStatus = 3;
/// A link was closed by the other end, in order.
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

/// Where a plugin writes text or bytes, in any number of parts. It is the host's, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmWriter {
    /// The host's own; to be given back to `write`.
    pub context: *mut c_void,
    /// Appends bytes.
    pub write: unsafe extern "C" fn(context: *mut c_void, bytes: MobillmBytes),
}

/// What a plugin may ask of the host, as long as the process lives.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmHost {
    /// Bytes of this table that there are.
    pub size: usize,
    /// The host's own; to be given back to its functions.
    pub context: *mut c_void,
    /// Says a line to the user. Levels: 0 error, 1 warning, 2 note.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: u32, line: MobillmText),
}

/// The header of a library, which lives as long as the process. Its first two fields never change.
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
    /// Called once before anything else; the host outlives everything.
    pub start: unsafe extern "C" fn(
        host: *const MobillmHost,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Writes what the library has as JSON: a list of objects with `slot` (`"quantizer"`), `tag`
    /// (`"acme.q8"`) and `schema`, the JSON schema of its options, whose `description` is a line of help.
    pub components: unsafe extern "C" fn(out: *const MobillmWriter) -> MobillmStatus,
    /// The table of a slot, or null if there is none that has everything up to `min_minor`.
    pub interface: unsafe extern "C" fn(slot: MobillmSlot, min_minor: u32) -> *const c_void,
}

// SAFETY: a header is constant data.
unsafe impl Sync for MobillmPlugin {}
// SAFETY: its context is only handed back to its functions, which any thread may call.
unsafe impl Sync for MobillmHost {}

/// How the components of a slot are made: the same for every slot.
///
/// `tag` says which component, `options` is a JSON object without its `type`, and `context` what the host knows,
/// as JSON; each slot's table says what. What went wrong is written to `error`, as a sentence for people.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmComponent {
    /// Everything that is wrong with the options, to `diagnostics` as a JSON list of objects with `path`, `message`
    /// and, if there is something to say, `expected` and `help`. Pure.
    pub check: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        context: MobillmText,
        diagnostics: *const MobillmWriter,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// An instance, to be released once.
    pub build: unsafe extern "C" fn(
        tag: MobillmText,
        options: MobillmText,
        context: MobillmText,
        instance: *mut *mut c_void,
        error: *const MobillmWriter,
    ) -> MobillmStatus,
    /// Takes an instance back.
    pub release: unsafe extern "C" fn(instance: *mut c_void),
}
