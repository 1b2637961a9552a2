//! Requests to stop, counted.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::{fs, io};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// Requests to stop: Ctrl-C and Ctrl-\, `kill`, a terminal that is closed. The first is to stop in
/// order, the second to stop at once; none ends this process by itself, which has others to look after.
pub(crate) struct Interrupts {
    signals: RefCell<Signals>,
    count: Cell<usize>,
}

impl Interrupts {
    /// Minds signals from now on.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub(crate) fn new() -> io::Result<Self> {
        let signals = Signals::new([SIGINT, SIGQUIT, SIGTERM])?;
        if !is_ignored(SIGHUP) {
            signals.add_signal(SIGHUP)?;
        }
        Ok(Self { signals: RefCell::new(signals), count: Cell::new(0) })
    }

    /// Whether somebody asked to stop.
    pub(super) fn stop(&self) -> bool {
        self.count() > 0
    }

    /// Whether somebody asked again.
    pub(super) fn stop_at_once(&self) -> bool {
        self.count() > 1
    }

    fn count(&self) -> usize {
        self.count.set(self.count.get() + self.signals.borrow_mut().pending().count());
        self.count.get()
    }
}

/// Whether whoever started this process has it ignore `signal`, as `nohup` does with SIGHUP. Only a
/// system with a /proc tells.
fn is_ignored(signal: c_int) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (signal - 1)) & 1 == 1)
}
