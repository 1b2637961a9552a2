//! What is under way: a bounded queue whose items come out when they are due.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::interface::TOLERANCE;
use crate::schedule::Conditions;

/// How much may be under way beside the oldest item, which the way out holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// Bandwidth x time under way. Frames that leave in a row, the oldest of them not yet there,
    /// always fit: a sender waits only while one is held up for longer.
    Bytes(u32),
    /// Where the bandwidth has no limit, nothing follows from it.
    Frames(u32),
}

/// Far more than real links hold; far less than what a device has.
const MOST_BYTES: u32 = 256 << 20;

impl Capacity {
    pub(crate) fn of(conditions: &Conditions) -> Self {
        let Some(mbit_per_s) = conditions.mbit_per_s else { return Self::Frames(64) };
        let seconds = (conditions.time_under_way() + TOLERANCE).as_secs_f64();
        let bytes = (mbit_per_s * 1e6 / 8.0 * seconds).ceil() as u32;
        Self::Bytes(bytes.clamp(1, MOST_BYTES))
    }

    /// What an item takes of it; one that is larger than all takes all.
    fn share(self, bytes: u64) -> u32 {
        match self {
            Self::Bytes(all) => bytes.clamp(1, all.into()) as u32,
            Self::Frames(_) => 1,
        }
    }
}

/// A delay line's two ends.
pub(crate) fn delay_line<T>(capacity: Capacity) -> (Entrance<T>, Exit<T>) {
    let (Capacity::Bytes(all) | Capacity::Frames(all)) = capacity;
    let room = Arc::new(Semaphore::new(all as usize));
    let (sender, receiver) = unbounded_channel();
    let entrance = Entrance { capacity, room, items: sender };
    (entrance, Exit { items: receiver, oldest: None })
}

struct Delayed<T> {
    item: T,
    due: Instant,
    room: OwnedSemaphorePermit,
}

/// The other end of a delay line is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Where items enter. Without it, the delay line ends after what is in it.
pub(crate) struct Entrance<T> {
    capacity: Capacity,
    room: Arc<Semaphore>,
    items: UnboundedSender<Delayed<T>>,
}

impl<T> Entrance<T> {
    /// Waits for room and puts in an item of `bytes` that is to come out at `due`.
    pub(crate) async fn push(&self, item: T, bytes: u64, due: Instant) -> Result<(), Gone> {
        let share = self.capacity.share(bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(share).await.map_err(|_| Gone)?;
        self.items.send(Delayed { item, due, room }).map_err(|_| Gone)
    }

    /// Waits until the other end is gone.
    pub(crate) async fn closed(&self) {
        self.items.closed().await;
    }
}

/// Where items come out, in the order in which they entered.
///
/// If it is dropped, so is what is in the line; that gives back the room for which the other end may
/// be waiting, and then it learns that this end is gone.
pub(crate) struct Exit<T> {
    items: UnboundedReceiver<Delayed<T>>,
    /// Has given back its room. It outlives a dropped `pop`.
    oldest: Option<(Instant, T)>,
}

impl<T> Exit<T> {
    /// Waits until the next item is due; `None` after the last.
    pub(crate) async fn pop(&mut self) -> Option<T> {
        if self.oldest.is_none() {
            let Delayed { item, due, room } = self.items.recv().await?;
            drop(room);
            self.oldest = Some((due, item));
        }
        if let Some((due, _)) = self.oldest
            && due > Instant::now()
        {
            sleep_until(due).await;
        }
        self.oldest.take().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn items_come_out_in_order_and_when_they_are_due() {
        let (entrance, mut exit) = delay_line(Capacity::Frames(9));
        let start = Instant::now();
        for (item, due) in [("a", 3), ("b", 7), ("c", 5)] {
            entrance.push(item, 1, start + due * MS).await.unwrap();
        }
        drop(entrance);
        let mut came = Vec::new();
        while let Some(item) = exit.pop().await {
            came.push((item, start.elapsed()));
        }
        assert_eq!(came, [("a", 3 * MS), ("b", 7 * MS), ("c", 7 * MS)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_pop_loses_nothing() {
        let (entrance, mut exit) = delay_line(Capacity::Frames(1));
        entrance.push(1, 1, Instant::now() + 10 * MS).await.unwrap();
        assert!(timeout(MS, exit.pop()).await.is_err());
        assert_eq!(exit.pop().await, Some(1));
    }

    /// How many items of `bytes` fit.
    async fn fit(capacity: Capacity, bytes: u64, is_popping: bool) -> u32 {
        let (entrance, mut exit) = delay_line(capacity);
        let never = Instant::now() + Duration::from_secs(1 << 20);
        let mut count = 0;
        while timeout(MS, entrance.push((), bytes, never)).await.is_ok() {
            count += 1;
            if is_popping {
                assert!(timeout(MS, exit.pop()).await.is_err());
            }
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_capacity_is_under_way_beside_the_oldest() {
        assert_eq!(fit(Capacity::Bytes(1000), 300, false).await, 3);
        assert_eq!(fit(Capacity::Bytes(1000), 300, true).await, 4);
        assert_eq!(fit(Capacity::Bytes(1000), 5000, true).await, 2);
        assert_eq!(fit(Capacity::Bytes(1000), 0, false).await, 1000);
        assert_eq!(fit(Capacity::Frames(5), 1 << 40, true).await, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_goes_lets_the_other_go() {
        let (entrance, mut exit) = delay_line(Capacity::Bytes(10));
        entrance.push(1, 10, Instant::now()).await.unwrap();
        let waiting = tokio::spawn(async move {
            let pushed = entrance.push(2, 10, Instant::now()).await;
            entrance.closed().await;
            pushed
        });
        advance(MS).await;
        assert!(!waiting.is_finished());
        drop(exit);
        assert_eq!(waiting.await.unwrap(), Err(Gone));

        (_, exit) = delay_line(Capacity::Bytes(10));
        assert_eq!(exit.pop().await, None);
    }

    #[test]
    fn a_capacity_is_bandwidth_times_time_under_way() {
        let of = |mbit_per_s, loss| {
            let (latency, jitter) = (50 * MS, 10 * MS);
            Capacity::of(&Conditions { mbit_per_s, latency, jitter, loss })
        };
        assert_eq!(of(Some(20.0), 0.0), Capacity::Bytes(2_500 * (50 + 10 + 20)));
        assert_eq!(of(Some(20.0), 0.1), Capacity::Bytes(2_500 * (150 + 10 + 20)));
        assert_eq!(of(Some(1e6), 0.0), Capacity::Bytes(MOST_BYTES));
        assert_eq!(of(None, 0.0), Capacity::Frames(64));
    }
}
