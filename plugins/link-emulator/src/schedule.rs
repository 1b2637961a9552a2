//! When frames leave and arrive: the model of one direction, which knows no clock.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[cfg(test)]
mod laws;

/// Bytes of a packet: the usual limit of Ethernet.
const PACKET_BYTES: u64 = 1500;

/// What one direction of a network is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    /// 10^6 bits per second; `None` is no limit.
    pub mbit_per_s: Option<f64>,
    /// From one end to the other.
    pub latency: Duration,
    /// The most that is added to the latency.
    pub jitter: Duration,
    /// Probability that a packet is lost, at most 0.5.
    pub loss: f64,
}

impl Conditions {
    /// How long `bytes` occupy the interface; rounded up, so that no rate exceeds the bandwidth.
    fn serialization(&self, bytes: u64) -> Duration {
        let nanoseconds = |mbit_per_s: f64| (bytes as f64 * 8000.0 / mbit_per_s).ceil() as u64;
        Duration::from_nanos(self.mbit_per_s.map_or(0, nanoseconds))
    }

    /// How long a frame is under way, with at most one round of loss.
    pub(crate) fn time_under_way(&self) -> Duration {
        let once = self.latency + self.jitter;
        if self.loss > 0.0 { once + 2 * self.latency } else { once }
    }
}

/// What becomes of one frame. Times count from a start that the caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passage {
    /// When its last bit has left the sender's interface.
    pub leaves: Duration,
    /// When it is at the other end.
    pub arrives: Duration,
    /// Packets that were lost and sent again.
    pub lost_packets: u64,
}

/// One direction of one connection.
pub(crate) struct Schedule {
    conditions: Conditions,
    jitter: ChaCha8Rng,
    loss: ChaCha8Rng,
    /// The passage of the frame before.
    last: Passage,
}

/// The packets of a frame that were lost, all rounds together.
#[derive(Default)]
struct Losses {
    packets: u64,
    bytes: u64,
    rounds: u32,
}

impl Schedule {
    /// A direction whose fates are a function of `seed` and `stream` alone.
    pub(crate) fn new(conditions: Conditions, seed: u64, stream: u64) -> Self {
        let random = |stream| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(stream);
            random
        };
        // Two streams: what is lost does not shift who gets which jitter.
        let (jitter, loss) = (random(2 * stream), random(2 * stream + 1));
        let last = Passage { leaves: Duration::ZERO, arrives: Duration::ZERO, lost_packets: 0 };
        Self { conditions, jitter, loss, last }
    }

    /// The passage of the next frame, which is `bytes` on the wire and ready to be sent at `ready`.
    pub(crate) fn pass(&mut self, ready: Duration, bytes: u64) -> Passage {
        let lost = self.lose(bytes);
        let occupied = self.conditions.serialization(bytes.saturating_add(lost.bytes));
        let leaves = self.last.leaves.max(ready).saturating_add(occupied);
        let jitter = self.conditions.jitter.mul_f64(unit(&mut self.jitter));
        let recovery = self.conditions.latency.saturating_mul(lost.rounds.saturating_mul(2));
        let on_the_way = self.conditions.latency + jitter + recovery;
        let arrives = leaves.saturating_add(on_the_way).max(self.last.arrives);
        self.last = Passage { leaves, arrives, lost_packets: lost.packets };
        self.last
    }

    /// Sends the packets of a frame until every one has arrived. A frame of no bytes is a packet too.
    fn lose(&mut self, bytes: u64) -> Losses {
        let mut losses = Losses::default();
        if self.conditions.loss == 0.0 {
            return losses;
        }
        let mut whole = bytes / PACKET_BYTES;
        let mut rest = Some(bytes % PACKET_BYTES).filter(|rest| *rest > 0 || whole == 0);
        loop {
            whole = (0..whole).filter(|_| self.is_lost()).count() as u64;
            rest = rest.filter(|_| self.is_lost());
            if whole == 0 && rest.is_none() {
                return losses;
            }
            losses.packets += whole + u64::from(rest.is_some());
            losses.bytes += whole * PACKET_BYTES + rest.unwrap_or(0);
            losses.rounds += 1;
        }
    }

    fn is_lost(&mut self) -> bool {
        unit(&mut self.loss) < self.conditions.loss
    }
}

/// A uniform draw from 0 up to, but not including, 1.
fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
