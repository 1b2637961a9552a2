//! Seconds in which something was held back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::schedule::Passage;

/// The union of the times in which frames of one direction are held back, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Tally>);

/// What has been added up.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// Length of the union, what lies in the future too.
    held: Duration,
    /// Where the union ends.
    until: Duration,
    lost_packets: u64,
}

impl Meter {
    /// Adds a frame that was ready at `ready`.
    pub(crate) fn add(&self, ready: Duration, passage: &Passage) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = ready.max(tally.until);
        tally.held += passage.arrives.saturating_sub(from);
        tally.until = tally.until.max(passage.arrives);
        tally.lost_packets += passage.lost_packets;
    }

    /// Seconds up to `now` in which at least one frame was held back.
    pub(crate) fn seconds(&self, now: Duration) -> f64 {
        let tally = self.tally();
        // Whatever is still held back was ready before now: from now on the union has no gap.
        (tally.held - tally.until.saturating_sub(now).min(tally.held)).as_secs_f64()
    }

    /// Packets that were lost.
    pub(crate) fn lost_packets(&self) -> u64 {
        self.tally().lost_packets
    }

    fn tally(&self) -> Tally {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    proptest! {
        #[test]
        fn it_measures_the_union(frames in vec((0_u32..40, 0_u32..60), 0..40), then in 0_u32..500) {
            let (meter, mut held) = (Meter::default(), vec![false; 3000]);
            let mut ready = 0;
            for (pause, delay) in frames {
                ready += pause;
                let arrives = ready + delay;
                let passage =
                    Passage { leaves: ready * MS, arrives: arrives * MS, lost_packets: 2 };
                let lost_before = meter.lost_packets();
                meter.add(ready * MS, &passage);
                prop_assert_eq!(meter.lost_packets(), lost_before + 2);
                held[ready as usize..arrives as usize].fill(true);
            }
            let now = ready + then;
            let expected = held[..now as usize].iter().filter(|held| **held).count() as f64 / 1e3;
            prop_assert!((meter.seconds(now * MS) - expected).abs() < 1e-9);
        }
    }
}
