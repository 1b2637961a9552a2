//! What is done about a plugin's call that does not come back. Nobody can end it, but it must not hold up
//! everything else for ever.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use mobillm::Stop;
use mobillm::config::{Plugins, PluginsConfig};
use signal_hook::low_level::exit;

use crate::watcher::say;

/// What everything else may take to stop in order.
const GRACE: Duration = Duration::from_secs(10);

/// Minds the calls of libraries while they are loaded, before anybody knows what their config allows.
///
/// # Errors
/// If the system gives no thread for it.
pub(crate) fn mind_loading() -> io::Result<()> {
    let patience = PluginsConfig::default().patience_seconds;
    mobillm_plugin::watch(Duration::from_secs(patience), move |hang| {
        say(&format!("error: {hang}; while a library is loaded no call may take longer"));
        // Not through what would run at exit: it may wait for the call, too.
        exit(1);
    })
}

/// Minds the calls of the libraries of `plugins`, if there are any: of one that takes longer than `seconds`
/// the user is told, `stop` is requested, and if that does not end the process, this does.
///
/// # Errors
/// If the system gives no thread for it.
pub(crate) fn mind(plugins: &Plugins, seconds: u64, stop: &Stop) -> io::Result<()> {
    if plugins.libraries.is_empty() {
        return Ok(());
    }
    let patience = Duration::from_secs(seconds);
    let stop = stop.clone();
    mobillm_plugin::watch(patience, move |hang| {
        let seconds = GRACE.as_secs();
        say(&format!("warning: {hang}; stopping, for at most {seconds} s"));
        stop.request();
        sleep(GRACE);
        say(&format!(
            "error: {hang} and keeps this process from ending in order; a call that just is that slow may take \
             `plugins.patience_seconds`"
        ));
        exit(1);
    })
}
