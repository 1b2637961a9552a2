//! The samples that a server keeps, by the step that wants them (PAE MobiLLM's activation cache).
//!
//! The store numbers samples in the order in which the first epoch's steps named them; a later epoch's
//! order is a [`shuffle`] of that one's.

use std::path::Path;

use mobillm_core::sample::EncodedSample;
use mobillm_store::{Identity, Prefetch, Store, StoreConfig, StoreError};
use mobillm_task::schedule::shuffle;
use mobillm_wire::WireError;

use crate::error::RunError;

/// How many samples make which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    /// Samples of an epoch.
    pub samples: u64,
    /// Samples of a step; the last of an epoch may have fewer.
    pub batch: u64,
    /// The order of an epoch is a function of it.
    pub seed: u64,
}

impl Steps {
    /// Steps of an epoch.
    pub fn per_epoch(&self) -> u64 {
        self.samples.div_ceil(self.batch)
    }

    /// Samples before the `step`th step of an epoch.
    fn before(&self, step: u64) -> u64 {
        (step * self.batch).min(self.samples)
    }

    /// Steps of the first epoch that are whole, of its first `samples` samples.
    fn whole(&self, samples: u64) -> u64 {
        if samples >= self.samples { self.per_epoch() } else { samples / self.batch }
    }
}

/// The samples that a server keeps.
pub(super) struct Cache {
    store: Store,
    steps: Steps,
    /// The step that is read ahead for, and what has been read.
    ahead: Option<(u64, Prefetch)>,
}

impl Cache {
    /// Opens what is kept in `folder`. What was cut within a step is let go.
    pub fn open(
        config: &StoreConfig,
        folder: &Path,
        identity: &Identity,
        steps: Steps,
    ) -> Result<Self, RunError> {
        let store = Store::open(config, folder, identity)?;
        let mut cache = Self { store, steps, ahead: None };
        cache.keep_whole_steps(cache.store.len())?;
        Ok(cache)
    }

    /// What had to be repaired when it was opened.
    pub fn recovered(&self) -> Option<&str> {
        self.store.recovered()
    }

    /// Steps of the first epoch whose samples are as durable as the config asks for.
    pub fn stored_steps(&self) -> u64 {
        self.steps.whole(self.store.durable())
    }

    /// Whether `step`, counted over all epochs, can be trained on without a device.
    pub fn has(&self, step: u64) -> bool {
        self.stored_steps() > step.min(self.steps.per_epoch() - 1)
    }

    /// Whether something was appended that is not durable yet.
    pub fn is_pending(&self) -> bool {
        self.store.durable() < self.store.len()
    }

    /// Keeps the samples of `step`, which is one of the first epoch.
    pub fn append(&mut self, step: u64, samples: &[EncodedSample]) -> Result<(), RunError> {
        let refuse = |problem| Err(WireError::Order { frame: "Step", problem }.into());
        let steps = self.steps.per_epoch();
        if step >= steps {
            return refuse(format!("the server keeps samples: expected steps below {steps} only"));
        }
        let expected = self.steps.before(step + 1) - self.steps.before(step);
        if samples.len() as u64 != expected {
            return refuse(format!("step {step}: expected {expected} samples"));
        }
        Ok(self.store.append(samples)?)
    }

    /// Makes what was appended durable if the policy says that it is time for it.
    pub fn sync_if_due(&mut self) -> Result<(), RunError> {
        if self.store.is_sync_due() { self.sync() } else { Ok(()) }
    }

    /// Makes what was appended durable.
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.store.sync()?;
        Ok(())
    }

    /// The samples of `step`, counted over all epochs. If one is damaged, it and those after it are let
    /// go: the device is asked for them again.
    pub fn samples(&mut self, step: u64) -> Result<Vec<EncodedSample>, RunError> {
        let read = self.read(step);
        if let Err(StoreError::Damaged { ordinal, .. }) = read {
            self.ahead = None;
            self.keep_whole_steps(ordinal)?;
        }
        Ok(read?)
    }

    fn read(&mut self, step: u64) -> Result<Vec<EncodedSample>, StoreError> {
        let (epoch, within) = (step / self.steps.per_epoch(), step % self.steps.per_epoch());
        let (start, end) = (self.steps.before(within), self.steps.before(within + 1));
        if epoch == 0 {
            return self.store.read(&(start..end).collect::<Vec<_>>());
        }
        let mut prefetch = match self.ahead.take() {
            Some((next, prefetch)) if next == step && within > 0 => prefetch,
            _ => {
                let order = shuffle(self.steps.seed, epoch, self.steps.samples as usize);
                let rest = order[start as usize..].iter().map(|&place| place as u64);
                self.store.prefetch(rest.collect())
            }
        };
        let samples = prefetch.next((end - start) as usize)?;
        self.ahead = Some((step + 1, prefetch));
        Ok(samples)
    }

    /// Lets all samples go.
    pub fn let_go(&mut self) -> Result<(), RunError> {
        self.ahead = None;
        self.keep_whole_steps(0)
    }

    /// Lets go what is not of a whole step among the first `samples` samples.
    fn keep_whole_steps(&mut self, samples: u64) -> Result<(), RunError> {
        let kept = self.steps.before(self.steps.whole(samples));
        if kept < self.store.len() {
            self.store.truncate(kept)?;
        }
        Ok(())
    }
}
