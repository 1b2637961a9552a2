//! Ctrl-C, counted.

use std::cell::{Cell, RefCell};
use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Requests to stop. The first is to stop in order, the second to stop at once; neither ends this
/// process by itself, which has others to look after.
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
        let signals = RefCell::new(Signals::new([SIGINT, SIGTERM])?);
        Ok(Self { signals, count: Cell::new(0) })
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
