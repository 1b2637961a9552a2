//! Text and bytes over the door.

use std::ffi::c_void;

use crate::abi::{MobillmBuffer, MobillmBytes, MobillmText, MobillmWriter};

impl MobillmText {
    /// `text`, lent; it must outlive this.
    pub const fn of(text: &str) -> Self {
        Self { data: text.as_ptr(), length: text.len() }
    }

    /// What it says.
    ///
    /// # Errors
    /// If it is no UTF-8.
    ///
    /// # Safety
    /// It is what it says and lives for `'a`.
    pub(crate) unsafe fn read<'a>(self) -> Result<&'a str, String> {
        let Self { data, length } = self;
        // SAFETY: as the caller promises.
        let bytes = unsafe { MobillmBytes { data, length }.read() };
        std::str::from_utf8(bytes).map_err(|error| format!("a text is no UTF-8: {error}"))
    }
}

impl MobillmBytes {
    /// `bytes`, lent; they must outlive this.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They are what this says and live for `'a`.
    pub(crate) unsafe fn read<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl MobillmBuffer {
    /// `bytes`, lent to be written.
    pub(crate) const fn of(bytes: &mut [u8]) -> Self {
        Self { data: bytes.as_mut_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They are what this says, live for `'a`, and nobody else looks at them.
    pub(crate) unsafe fn read<'a>(self) -> &'a mut [u8] {
        if self.data.is_null() || self.length == 0 {
            return &mut [];
        }
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.length) }
    }
}

/// Bytes that the other side writes.
#[derive(Debug, Default)]
pub(crate) struct Written(pub(crate) Vec<u8>);

impl Written {
    /// What the other side writes to; it must not outlive this.
    pub(crate) fn writer(&mut self) -> MobillmWriter {
        unsafe extern "C" fn write(context: *mut c_void, bytes: MobillmBytes) {
            // SAFETY: the context is that of `writer` below, and the bytes are lent for this call.
            let (written, bytes) = unsafe { (&mut *context.cast::<Vec<u8>>(), bytes.read()) };
            written.extend_from_slice(bytes);
        }
        MobillmWriter { context: (&raw mut self.0).cast(), write }
    }

    /// What was written, as text; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

/// Writes `bytes` to the other side's writer.
///
/// # Safety
/// The pointer is null or points to a writer of the other side's.
pub(crate) unsafe fn write(writer: *const MobillmWriter, bytes: &[u8]) {
    // SAFETY: as the caller promises.
    if let Some(writer) = unsafe { writer.as_ref() } {
        // SAFETY: the bytes are lent for the call.
        unsafe { (writer.write)(writer.context, MobillmBytes::of(bytes)) };
    }
}
