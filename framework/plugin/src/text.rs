//! Text and bytes over the door.

use std::ffi::c_void;

use serde::de::DeserializeOwned;

use crate::abi::{
    MOBILLM_OK, MOBILLM_REFUSED, MobillmBuffer, MobillmBytes, MobillmStatus, MobillmText,
    MobillmWriter,
};
use crate::handle;

impl MobillmText {
    /// `text`, lent; it must outlive this.
    pub const fn of(text: &str) -> Self {
        Self { data: text.as_ptr(), length: text.len() }
    }

    /// What it says.
    ///
    /// # Errors
    /// If it is no UTF-8, or longer than any memory.
    ///
    /// # Safety
    /// It is what it says and lives for `'a`.
    pub(crate) unsafe fn read<'a>(self) -> Result<&'a str, String> {
        let Self { data, length } = self;
        // SAFETY: as the caller promises.
        let bytes = unsafe { MobillmBytes { data, length }.read() }?;
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
    /// # Errors
    /// If they cannot be so many.
    ///
    /// # Safety
    /// They are what this says and live for `'a`.
    pub(crate) unsafe fn read<'a>(self) -> Result<&'a [u8], String> {
        if !there("bytes", self.data, self.length)? {
            return Ok(&[]);
        }
        // SAFETY: as the caller promises; they are counted by an `isize`.
        Ok(unsafe { std::slice::from_raw_parts(self.data, self.length) })
    }
}

impl MobillmBuffer {
    /// `bytes`, lent to be written.
    pub(crate) const fn of(bytes: &mut [u8]) -> Self {
        Self { data: bytes.as_mut_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Errors
    /// If they cannot be so many.
    ///
    /// # Safety
    /// They are what this says, live for `'a`, and nobody else looks at them.
    pub(crate) unsafe fn read<'a>(self) -> Result<&'a mut [u8], String> {
        if !there("bytes", self.data, self.length)? {
            return Ok(&mut []);
        }
        // SAFETY: as the caller promises; they are counted by an `isize`.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.data, self.length) })
    }
}

/// Whether there is anything at `data`, so that `count` elements may be read from there.
///
/// # Errors
/// If the address cannot be theirs, or no memory holds so many.
pub(crate) fn there<T>(what: &str, data: *const T, count: usize) -> Result<bool, String> {
    if count == 0 {
        return Ok(false);
    }
    if data.is_null() || !data.is_aligned() {
        let align = align_of::<T>();
        return Err(format!(
            "the {what} are at {data:?}, expected a multiple of {align} that is not 0"
        ));
    }
    let end = count.checked_mul(size_of::<T>()).and_then(|bytes| data.addr().checked_add(bytes));
    if end.is_none_or(|end| end - data.addr() > isize::MAX as usize) {
        return Err(format!("the {what} are {count}, expected a number that fits the memory"));
    }
    Ok(true)
}

/// The most that a text may have: configs, infos and reasons are far shorter.
const LONGEST: usize = 16 << 20;
/// The most of a reason that is shown.
const SHOWN: usize = 4 << 10;

/// What the other side has written.
#[derive(Debug)]
pub(crate) struct Written {
    bytes: Vec<u8>,
    /// The most bytes that are taken.
    most: usize,
    /// What was wrong with a part.
    fault: Option<String>,
}

/// What `call` writes of text.
pub(crate) fn written<R>(call: impl FnOnce(*const MobillmWriter) -> R) -> (R, Written) {
    Written::gather(LONGEST, call)
}

/// What `call` writes of bytes, as many as the memory holds.
pub(crate) fn written_bytes<R>(call: impl FnOnce(*const MobillmWriter) -> R) -> (R, Written) {
    Written::gather(usize::MAX, call)
}

impl Written {
    fn gather<R>(most: usize, call: impl FnOnce(*const MobillmWriter) -> R) -> (R, Self) {
        let mut written = Self { bytes: Vec::new(), most, fault: None };
        let done = {
            let handle = handle::lend(&mut written);
            call(&MobillmWriter { context: handle.context(), write: take })
        };
        (done, written)
    }

    /// Takes a part.
    fn add(&mut self, part: Result<&[u8], String>) -> Result<(), String> {
        let part = part?;
        let room = self.most.saturating_sub(self.bytes.len());
        if part.len() > room || self.bytes.try_reserve(part.len()).is_err() {
            let length = self.bytes.len();
            return Err(format!("{} bytes after {length}, which is too much", part.len()));
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    /// What was written.
    ///
    /// # Errors
    /// If a part of it was none, or there was no room for it.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, String> {
        self.fault.map_or(Ok(self.bytes), Err)
    }

    /// What was written, as text to be shown: bytes that are no UTF-8 are replaced, and what is very long is cut.
    pub(crate) fn text(&self) -> String {
        match &self.fault {
            Some(fault) => fault.clone(),
            None => shown(&self.bytes),
        }
    }

    /// What was written, read as JSON.
    ///
    /// # Errors
    /// If it is another value, or none.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, String> {
        let bytes = self.bytes()?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{error} in {:?}", shown(&bytes)))
    }
}

/// Takes a part of what a call writes.
unsafe extern "C" fn take(context: *mut c_void, bytes: MobillmBytes) -> MobillmStatus {
    // SAFETY: the bytes are lent for this call, and nothing of what is written has a lifetime.
    let taken = unsafe {
        let part = bytes.read();
        handle::reach(context, |written: &mut Written| match written.add(part) {
            Ok(()) => MOBILLM_OK,
            Err(fault) => {
                written.fault = Some(fault);
                MOBILLM_REFUSED
            }
        })
    };
    taken.unwrap_or(MOBILLM_REFUSED)
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).trim().to_owned();
    if bytes.len() > SHOWN { text + " .." } else { text }
}

/// Writes `bytes` to the other side's writer.
///
/// # Errors
/// If it takes no more.
///
/// # Safety
/// The pointer is null or points to a writer of the other side's.
pub(crate) unsafe fn write(writer: *const MobillmWriter, bytes: &[u8]) -> Result<(), String> {
    // SAFETY: as the caller promises.
    let Some(writer) = (unsafe { writer.as_ref() }) else { return Ok(()) };
    // SAFETY: the bytes are lent for the call.
    match unsafe { (writer.write)(writer.context, MobillmBytes::of(bytes)) } {
        MOBILLM_OK => Ok(()),
        status => Err(format!("the host takes no more (status {status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_is_believed() {
        let data = [b'a'; 3].as_ptr();
        // SAFETY: of what is longer than any memory, or nowhere, nothing is read.
        let said = |length| unsafe { MobillmText { data, length }.read() }.unwrap_err();
        assert!(said(isize::MAX as usize + 1).contains("fits the memory"));
        assert!(said(usize::MAX).contains("fits the memory"));
        let nowhere = MobillmBytes { data: std::ptr::null(), length: 1 };
        // SAFETY: as above.
        assert!(unsafe { nowhere.read() }.unwrap_err().contains("bytes are at 0x0"));
        // SAFETY: as above.
        assert!(unsafe { MobillmBytes { length: 0, ..nowhere }.read() }.unwrap().is_empty());
    }

    #[test]
    fn what_was_written_is_whole_or_not_there() {
        // SAFETY: the writer lives for the call.
        let (said, text) =
            written(|writer| unsafe { (write(writer, b"[1, "), write(writer, b"2]")) });
        assert_eq!((said, &*text.text()), ((Ok(()), Ok(())), "[1, 2]"));
        assert_eq!(text.json::<Vec<u8>>(), Ok(vec![1, 2]));
        let part = vec![b'a'; LONGEST / 2 + 1];
        // SAFETY: as above.
        let (said, text) =
            written(|writer| unsafe { [write(writer, &part), write(writer, &part)] });
        assert!(said[0].is_ok() && said[1].is_err());
        assert!(text.text().contains("too much") && text.bytes().is_err());
        // SAFETY: as above; of these bytes none is read.
        let (status, text) = written_bytes(|writer| unsafe {
            let lie = MobillmBytes { data: part.as_ptr(), length: 1 << 60 };
            ((*writer).write)((*writer).context, MobillmBytes { length: usize::MAX, ..lie })
        });
        assert_eq!(status, MOBILLM_REFUSED);
        assert!(text.bytes().unwrap_err().contains("fits the memory"));
    }

    #[test]
    fn who_writes_when_the_call_is_over_reaches_nothing() {
        // SAFETY: the writer is copied, and its context is a number.
        let (kept, _) = written(|writer| unsafe { *writer });
        // SAFETY: the bytes are lent for the call.
        assert_eq!(unsafe { (kept.write)(kept.context, MobillmBytes::of(b"x")) }, MOBILLM_REFUSED);
    }

    #[test]
    fn a_long_reason_is_cut() {
        // SAFETY: the writer lives for the call.
        let (_, text) = written(|writer| unsafe { write(writer, &[b'a'; SHOWN + 1]) });
        assert_eq!(text.text().len(), SHOWN + 3);
    }
}
