//! Where frames enter the imitated network: the schedule, in real time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::meter::Meter;
use crate::schedule::Schedule;

/// How late timers may be without the imitated network falling behind.
///
/// Timers end up to a millisecond late, and more on a busy machine: of ten frames that each take
/// 0.1 ms, each would take ten times that. What an interface was late at one frame, up to this, it
/// makes up for at the next. What a sender was late it does not.
pub(crate) const TOLERANCE: Duration = Duration::from_millis(20);

/// The sender's end of one direction of one connection.
pub(crate) struct Interface {
    schedule: Schedule,
    /// What the schedule's times count from.
    start: Instant,
    meter: Arc<Meter>,
    /// How long after the last frame had left its sender was let go on.
    late: Duration,
}

impl Interface {
    pub(crate) fn new(schedule: Schedule, start: Instant, meter: Arc<Meter>) -> Self {
        Self { schedule, start, meter, late: Duration::ZERO }
    }

    /// Waits until a frame that is `bytes` on the wire has left, and says when it arrives.
    pub(crate) async fn pass(&mut self, bytes: u64) -> Instant {
        let now = self.start.elapsed();
        let ready = now.saturating_sub(self.late);
        let passage = self.schedule.pass(ready, bytes);
        self.meter.add(ready, &passage);
        self.late = now.saturating_sub(passage.leaves);
        if now < passage.leaves {
            sleep_until(self.start + passage.leaves).await;
            self.late = self.start.elapsed().saturating_sub(passage.leaves).min(TOLERANCE);
        }
        self.start + passage.arrives
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Conditions;

    /// 8 Mbit/s: a byte takes 1 microsecond.
    fn interface() -> Interface {
        let conditions = Conditions {
            mbit_per_s: Some(8.0),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
        };
        Interface::new(Schedule::new(conditions, 0, 0), Instant::now(), Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn timers_that_are_late_do_not_lower_the_bandwidth() {
        let mut interface = interface();
        for _ in 0..1000 {
            // Timers have a resolution of a millisecond: alone, this frame takes ten times as long.
            interface.pass(100).await;
        }
        assert_eq!(interface.start.elapsed(), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_is_late_gets_no_credit() {
        let mut interface = interface();
        interface.pass(100).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let resumed = interface.start.elapsed();
        for _ in 0..100 {
            interface.pass(100).await;
        }
        // Less by the 0.9 ms that the timer of the first frame was late.
        let expected = Duration::from_micros(100 * 100 - 900);
        let off = interface.start.elapsed() - resumed - expected;
        assert!(off < Duration::from_millis(1), "{off:?} more than {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_made_up_for_is_used_up() {
        let mut interface = interface();
        for _ in 0..6 {
            interface.pass(100).await;
        }
        // It is 1 ms now and the frames took 0.6 ms: 0.4 ms are left.
        tokio::time::sleep(Duration::from_millis(10)).await;
        interface.pass(1_500).await;
        assert_eq!(interface.start.elapsed(), Duration::from_millis(13));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_is_not_made_up_for() {
        let mut interface = interface();
        tokio::join!(interface.pass(1_000), tokio::time::advance(Duration::from_secs(60)));
        let woken = interface.start.elapsed();
        for _ in 0..30 {
            interface.pass(1_000).await;
        }
        assert_eq!(interface.start.elapsed() - woken, Duration::from_millis(30) - TOLERANCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_was_given_up_leaves_nothing_to_make_up_for() {
        let mut interface = interface();
        let given_up = Duration::from_millis(1);
        let passed = tokio::time::timeout(given_up, interface.pass(10_000)).await;
        assert!(passed.is_err());
        interface.pass(5_000).await;
        // What has been put on the wire cannot be taken back.
        assert_eq!(interface.start.elapsed(), Duration::from_millis(15));
    }
}
