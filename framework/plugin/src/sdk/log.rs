//! Lines to the user.

use std::io::{Write, stderr};
use std::sync::OnceLock;

use crate::abi::{
    MOBILLM_LOG_ERROR, MOBILLM_LOG_NOTE, MOBILLM_LOG_WARNING, MobillmHost, MobillmText,
};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may not be what the user wants.
    Warning,
    /// Something that the user may want to know.
    Note,
}

/// The host of this library: a library's statics are its own.
static HOST: OnceLock<&'static MobillmHost> = OnceLock::new();

/// Keeps the first host: a library is started once, and doors that are linked in share one.
pub(super) fn keep(host: &'static MobillmHost) {
    HOST.get_or_init(|| host);
}

/// Says a line to the user: through the host, which puts the library's name before it, or on stderr while the type
/// is linked in.
///
/// ```
/// use mobillm_plugin::sdk::{Level, log};
///
/// log(Level::Warning, "the table of codes has no entry for zeros");
/// ```
pub fn log(level: Level, line: &str) {
    match HOST.get() {
        Some(host) => {
            let level = match level {
                Level::Error => MOBILLM_LOG_ERROR,
                Level::Warning => MOBILLM_LOG_WARNING,
                Level::Note => MOBILLM_LOG_NOTE,
            };
            // SAFETY: the host lives for ever, and the text for the call.
            unsafe { (host.log)(host.context, level, MobillmText::of(line)) };
        }
        // Whoever read stderr may be gone, which is no reason for a run to end.
        None => drop(writeln!(stderr(), "{level:?}: {line}")),
    }
}
