//! What blows in one call.

/// Panics in the call that it names; `release` is when it is dropped.
#[derive(Debug)]
pub(crate) struct Fuse {
    at: String,
}

impl Fuse {
    /// One in the call `at`.
    pub(crate) fn new(at: &str) -> Self {
        Self { at: at.to_owned() }
    }

    /// Panics if this is the call.
    pub(crate) fn reach(&self, call: &str) {
        blow(&self.at, call);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.reach("release");
    }
}

/// Panics if `call` is the one that is named; `CALL-twice` with what panics again when it is dropped.
pub(crate) fn blow(at: &str, call: &str) {
    assert!(at != call, "the fuse in {call} blew");
    if at.strip_suffix("-twice") == Some(call) {
        std::panic::panic_any(Again);
    }
}

/// What panics when it is dropped.
struct Again;

impl Drop for Again {
    fn drop(&mut self) {
        panic!("the fuse blew again");
    }
}
