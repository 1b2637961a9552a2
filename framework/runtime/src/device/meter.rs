//! Books what a session costs, so that whatever ends it, what was saved last adds up.

use std::sync::Arc;
use std::time::Instant;

use mobillm_core::transport::{Emulated, Transport};

use crate::link::Traffic;
use crate::run::RunState;

/// What of a session is in the run's state already.
pub(super) struct Meter<'a> {
    traffic: Arc<Traffic>,
    transport: &'a dyn Transport,
    booked_emulated: Emulated,
    booked_up: u64,
    booked_down: u64,
    since: Instant,
    /// When the epoch that is evaluated next began, or was booked last.
    epoch_since: Instant,
    own_process: bool,
}

impl<'a> Meter<'a> {
    /// A meter of a session over `transport` that began at `began`. Memory is only measured in a
    /// process of its own.
    pub(super) fn new(
        traffic: Arc<Traffic>,
        transport: &'a dyn Transport,
        began: Instant,
        own_process: bool,
    ) -> Self {
        Self {
            traffic,
            transport,
            booked_emulated: Emulated::default(),
            booked_up: 0,
            booked_down: 0,
            since: began,
            epoch_since: Instant::now(),
            own_process,
        }
    }

    /// The training begins: the next epoch's time counts from here.
    pub(super) fn begin_epoch(&mut self) {
        self.epoch_since = Instant::now();
    }

    /// Adds what has come since the last time.
    pub(super) fn book(&mut self, state: &mut RunState) {
        let (up, down) = (self.traffic.sent(), self.traffic.received());
        state.link.bytes_up += up - std::mem::replace(&mut self.booked_up, up);
        state.link.bytes_down += down - std::mem::replace(&mut self.booked_down, down);
        state.wall_seconds += lap(&mut self.since);
        if let Some(now) = self.transport.emulated() {
            let before = std::mem::replace(&mut self.booked_emulated, now);
            let sum = state.link.emulated.get_or_insert_default();
            sum.up_seconds += now.up_seconds - before.up_seconds;
            sum.down_seconds += now.down_seconds - before.down_seconds;
            sum.lost_packets += now.lost_packets - before.lost_packets;
        }
        if self.own_process {
            let peak = state.device.peak_rss_bytes.max(peak_resident_bytes());
            state.device.peak_rss_bytes = peak;
        }
    }

    /// Adds the time since the last evaluation to the epoch that is evaluated next.
    pub(super) fn book_epoch(&mut self, state: &mut RunState) {
        let epoch = state.epochs.len() as u64;
        state.spent(epoch).seconds += lap(&mut self.epoch_since);
    }
}

/// Seconds since `since`, which becomes now.
fn lap(since: &mut Instant) -> f64 {
    let now = Instant::now();
    now.duration_since(std::mem::replace(since, now)).as_secs_f64()
}

/// The most memory that this process ever held, where the system tells.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
