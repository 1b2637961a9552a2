//! Reading ahead in an order that is known.

use std::collections::VecDeque;
use std::thread;

use flume::{Receiver, Sender};
use mobillm_core::sample::EncodedSample;

use crate::error::StoreError;
use crate::view::View;

/// Most bytes of samples that are read before somebody asks for them, unless a single one is larger.
pub const READ_AHEAD_BYTES: usize = 16 << 20;

/// A portion is what one thread reads at a time: large enough for the disk to do many reads at once,
/// small enough for all threads to be busy within [`READ_AHEAD_BYTES`].
const PORTION_BYTES: usize = READ_AHEAD_BYTES / 32;
const PORTION_SAMPLES: usize = 64;

/// What a sample of a few rows takes in memory beside its record: small ones are mostly this.
const SAMPLE_BYTES: usize = 1 << 10;

const THREADS: usize = 8;

type Samples = Result<Vec<EncodedSample>, StoreError>;

/// Samples in the order that was asked for, as the store was then: several threads read ahead of
/// whoever calls [`next`](Self::next), by at most [`READ_AHEAD_BYTES`].
#[derive(Debug)]
pub struct Prefetch {
    view: View,
    order: std::vec::IntoIter<u64>,
    jobs: Sender<(Vec<u64>, Sender<Samples>)>,
    /// Portions that are being read, in order.
    pending: VecDeque<Portion>,
    pending_bytes: usize,
    /// What has been read and not yet asked for.
    ready: VecDeque<EncodedSample>,
}

#[derive(Debug)]
struct Portion {
    bytes: usize,
    samples: Receiver<Samples>,
}

impl Prefetch {
    pub(crate) fn new(view: View, order: Vec<u64>) -> Self {
        let (jobs, queue) = flume::unbounded::<(Vec<u64>, Sender<Samples>)>();
        for _ in 0..THREADS {
            let (view, queue) = (view.clone(), queue.clone());
            let work = move || {
                for (ordinals, samples) in queue {
                    // Nobody waits for it any more if this prefetch is gone.
                    let _ = samples.send(view.read(&ordinals));
                }
            };
            // Fewer threads do the same; that there are none at all shows when they are given work.
            let _ = thread::Builder::new().name("store-read-ahead".into()).spawn(work);
        }
        let (pending, ready) = (VecDeque::new(), VecDeque::new());
        Self { view, order: order.into_iter(), jobs, pending, pending_bytes: 0, ready }
    }

    /// The next `samples` samples: fewer at the end of the order, none after it.
    ///
    /// # Errors
    /// If one is damaged or absent, or no thread could be started. The order cannot be gone on with then.
    pub fn next(&mut self, samples: usize) -> Result<Vec<EncodedSample>, StoreError> {
        self.refill()?;
        while self.ready.len() < samples {
            let Some(portion) = self.pending.pop_front() else { break };
            self.ready.extend(portion.samples.recv().map_err(|_| StoreError::ReadAhead)??);
            self.pending_bytes -= portion.bytes;
            self.refill()?;
        }
        Ok(self.ready.drain(..samples.min(self.ready.len())).collect())
    }

    /// Has the threads read on, as far as they may.
    fn refill(&mut self) -> Result<(), StoreError> {
        while self.pending.is_empty() || self.pending_bytes + PORTION_BYTES <= READ_AHEAD_BYTES {
            let (ordinals, bytes) = self.portion();
            if ordinals.is_empty() {
                break;
            }
            let (sender, samples) = flume::bounded(1);
            self.jobs.send((ordinals, sender)).map_err(|_| StoreError::ReadAhead)?;
            self.pending.push_back(Portion { bytes, samples });
            self.pending_bytes += bytes;
        }
        Ok(())
    }

    /// What is next in order and its bytes.
    fn portion(&mut self) -> (Vec<u64>, usize) {
        let (mut ordinals, mut bytes) = (Vec::new(), 0);
        while bytes < PORTION_BYTES && ordinals.len() < PORTION_SAMPLES {
            let Some(ordinal) = self.order.next() else { break };
            bytes += self.view.length(ordinal) + SAMPLE_BYTES;
            ordinals.push(ordinal);
        }
        (ordinals, bytes)
    }
}
