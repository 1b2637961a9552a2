//! The first calls of a library: its header is read, it is started, and says what it has.

use std::ffi::c_void;
use std::io::{Write, stderr};
use std::path::Path;

use serde::Deserialize;

use super::hang;
use super::instance::Name;
use super::library::{Component, LibraryError};
use super::table::{self, Growing};
use crate::abi::{
    MAGIC, MAJOR, MOBILLM_LOG_ERROR, MOBILLM_LOG_WARNING, MOBILLM_OK, MobillmHost, MobillmPlugin,
    MobillmText,
};
use crate::text::{Written, written};

/// Starts a library and asks what it has. An error says which call and what is wrong.
///
/// # Safety
/// The header is that of a library, which is started once.
pub(super) unsafe fn start(
    header: &MobillmPlugin,
    name: &'static Name,
) -> Result<Vec<Component>, (&'static str, String)> {
    let said = |status, error: &Written| format!("{} (status {status})", error.text());
    let context = std::ptr::from_ref(name).cast_mut().cast();
    let host = MobillmHost { size: size_of::<MobillmHost>(), context, log };
    let host: &'static MobillmHost = Box::leak(Box::new(host));
    let (status, error) = {
        let _out = hang::out(name, &"start");
        // SAFETY: the header has all its functions, the host lives for ever and the writer for the call.
        written(|error| unsafe { (header.start)(host, error) })
    };
    if status != MOBILLM_OK {
        return Err(("start", said(status, &error)));
    }
    let _out = hang::out(name, &"components");
    // SAFETY: as above.
    let ((status, error), listed) =
        written(|out| written(|error| unsafe { (header.components)(out, error) }));
    if status != MOBILLM_OK {
        return Err(("components", said(status, &error)));
    }
    let listed: Vec<Listed> = listed.json().map_err(|problem| ("components", problem))?;
    Ok(listed.into_iter().filter_map(Listed::known).collect())
}

/// A component as a library lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    slot: String,
    tag: String,
    schema: schemars::Schema,
}

impl Listed {
    /// It, unless it is of a newer ABI: for a slot that is not known here.
    pub(crate) fn known(self) -> Option<Component> {
        let slot = serde_json::from_value(self.slot.into()).ok()?;
        Some(Component { slot, tag: self.tag, schema: self.schema })
    }
}

/// The header, if it is one of this ABI.
///
/// # Safety
/// The pointer, if it is aligned, points to at least the magic of a header, and to as much of a whole one as magic, versions
/// and size are right.
pub(super) unsafe fn read(
    path: &Path,
    header: *const MobillmPlugin,
) -> Result<MobillmPlugin, LibraryError> {
    let wrong = |what, got: String, expected: String, remedy| LibraryError::Abi {
        path: path.to_owned(),
        what,
        got,
        expected,
        remedy,
    };
    const NO_PLUGIN: &str = "is it a plugin of mobillm?";
    const AUTHOR: &str = "tell the plugin's author";
    const OLDER: &str = "get a newer version of the plugin";
    if header.is_null() || !header.is_aligned() {
        return Err(wrong("the header", format!("{header:?}"), "a pointer".to_owned(), AUTHOR));
    }
    // SAFETY: as the caller promises.
    let magic = unsafe { (&raw const (*header).magic).read() };
    if magic != MAGIC {
        let (got, expected) = (magic.escape_ascii().to_string(), MAGIC.escape_ascii().to_string());
        return Err(wrong("the magic", got, expected, NO_PLUGIN));
    }
    // SAFETY: the magic is right, so there is a version.
    let major = unsafe { (&raw const (*header).major).read() };
    if major != MAJOR {
        let remedy = if major < MAJOR { OLDER } else { "get a newer mobillm" };
        let what = "the ABI's major version";
        return Err(wrong(what, major.to_string(), MAJOR.to_string(), remedy));
    }
    // SAFETY: the major version is right, so there is a size.
    let size = unsafe { (&raw const (*header).size).read() };
    if size < MobillmPlugin::BASE {
        let expected = format!("at least {}", MobillmPlugin::BASE);
        return Err(wrong("the header's size", size.to_string(), expected, OLDER));
    }
    // SAFETY: there are so many bytes.
    unsafe { table::whole(header, size) }
        .map_err(|problem| wrong("the header", problem, "all functions".to_owned(), AUTHOR))
}

/// Says a line of a plugin's to the user. The context is the name of its library.
unsafe extern "C" fn log(context: *mut c_void, level: u32, line: MobillmText) {
    let level = match level {
        MOBILLM_LOG_ERROR => "error",
        MOBILLM_LOG_WARNING => "warning",
        _ => "note",
    };
    // SAFETY: the context is a name that lives for ever, and the text is lent for the call.
    let (name, line) = unsafe { (&*context.cast::<Name>(), line.read()) };
    let line = line.map_or_else(|problem| format!("a line is none: {problem}"), str::to_owned);
    // It is one line, and does not move the cursor to imitate another one's.
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // At once, for other threads say something, too.
    let line = format!("plugin {name}: {level}: {line}\n");
    // Whoever read stderr may be gone, which is no reason for a run to end.
    let _ = stderr().write_all(line.as_bytes());
}
