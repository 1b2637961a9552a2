//! A request to stop, seen by every thread of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a thread may wait before it looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Set once, by Ctrl-C or by whoever embeds mobillm; every wait of a run looks at it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// Why a wait ended without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoValue {
    /// The run was asked to stop.
    Stopped,
    /// The other end of the channel is gone.
    Closed,
    /// Nothing came in time.
    Late,
}

impl Stop {
    /// Asks every thread that holds a copy to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The flag behind it, for signal handlers: setting it is a [`request`](Self::request).
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The next value of `channel`, unless the run is to stop, the channel is closed, or nothing
    /// comes before `deadline`.
    ///
    /// # Errors
    /// Why there is no value.
    pub fn receive<T>(
        &self,
        channel: &flume::Receiver<T>,
        deadline: Option<Instant>,
    ) -> Result<T, NoValue> {
        while !self.is_requested() {
            let now = Instant::now();
            let left =
                deadline.map_or(PATIENCE, |deadline| deadline.saturating_duration_since(now));
            match channel.recv_timeout(left.min(PATIENCE)) {
                Ok(value) => return Ok(value),
                Err(flume::RecvTimeoutError::Disconnected) => return Err(NoValue::Closed),
                Err(flume::RecvTimeoutError::Timeout) if left <= PATIENCE && deadline.is_some() => {
                    return Err(NoValue::Late);
                }
                Err(flume::RecvTimeoutError::Timeout) => {}
            }
        }
        Err(NoValue::Stopped)
    }

    /// Puts `value` into a full `channel` as soon as there is room.
    ///
    /// # Errors
    /// Why it could not be put there.
    pub fn send<T>(&self, channel: &flume::Sender<T>, mut value: T) -> Result<(), NoValue> {
        while !self.is_requested() {
            match channel.send_timeout(value, PATIENCE) {
                Ok(()) => return Ok(()),
                Err(flume::SendTimeoutError::Disconnected(_)) => return Err(NoValue::Closed),
                Err(flume::SendTimeoutError::Timeout(again)) => value = again,
            }
        }
        Err(NoValue::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_channel_closes() {
        let stop = Stop::default();
        let (sender, receiver) = flume::bounded(1);
        assert_eq!(stop.send(&sender, 1), Ok(()));
        drop(sender);
        assert_eq!(stop.receive(&receiver, None), Ok(1));
        assert_eq!(stop.receive(&receiver, None), Err(NoValue::Closed));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (_sender, receiver) = flume::bounded::<u8>(1);
        let late = Stop::default().receive(&receiver, Some(Instant::now()));
        assert_eq!(late, Err(NoValue::Late));
    }

    #[test]
    fn a_wait_ends_when_a_stop_is_requested_whatever_else_there_is_to_do() {
        let stop = Stop::default();
        let (sender, receiver) = flume::bounded(2);
        assert_eq!(stop.send(&sender, 1), Ok(()));
        stop.request();
        assert_eq!(stop.receive(&receiver, None), Err(NoValue::Stopped));
        assert_eq!(stop.send(&sender, 2), Err(NoValue::Stopped));
    }
}
