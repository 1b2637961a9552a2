//! A run on the server: the side network, the samples that are kept for it, and how far it has come.

use std::time::Instant;

use bytes::Bytes;
use mobillm_core::sample::EncodedSample;
use mobillm_core::side_network::{SideNetwork, SideNetworkContext};
use mobillm_store::Identity;
use mobillm_wire::frame::{Ack, Adapter, Frame};

use crate::error::RunError;
use crate::progress::{News, Watch};
use crate::server::cache::{Cache, Steps};
use crate::server::decode::decode;
use crate::server::folder::RunShape;
use crate::server::{ServerFolder, ServerJob};

/// What a step of training is told with.
pub(super) struct Trained {
    /// The acknowledgement, as a frame.
    pub ack: Bytes,
    /// The adapter, at the end of an epoch.
    pub adapter: Option<Adapter>,
}

/// A run on the server.
pub(super) struct Training<'a> {
    job: &'a ServerJob<'a>,
    context: SideNetworkContext,
    steps_per_epoch: u64,
    network: Box<dyn SideNetwork>,
    /// The samples, if the server keeps them.
    pub cache: Option<Cache>,
    /// Steps that were trained.
    trained: u64,
    /// Steps that are in the last checkpoint.
    kept: u64,
}

impl<'a> Training<'a> {
    /// Goes on with the run that `folder` holds.
    ///
    /// # Errors
    /// If the network cannot be built or what was kept cannot be read.
    pub fn open(
        job: &'a ServerJob<'a>,
        folder: &ServerFolder,
        shape: RunShape,
        watch: &Watch<'_>,
    ) -> Result<Self, RunError> {
        let cache = match job.store.caches() {
            true => Some(open_cache(job, folder, &shape)?),
            false => None,
        };
        if let Some(repaired) = cache.as_ref().and_then(Cache::recovered) {
            watch.news(News::Warning { message: repaired.to_owned() });
        }
        let RunShape { side_network: context, steps_per_epoch, .. } = shape;
        let mut network = job.side_network.build(&context)?;
        if let Some(checkpoint) = folder.checkpoint()? {
            network.restore(&checkpoint)?;
        }
        let trained = folder.next_step();
        Ok(Self { job, context, steps_per_epoch, network, cache, trained, kept: trained })
    }

    /// Number and width of the tapped layers.
    pub fn taps(&self) -> (usize, usize) {
        (self.context.taps.len(), self.context.hidden)
    }

    /// Steps that were trained.
    pub fn trained(&self) -> u64 {
        self.trained
    }

    /// All steps of the run.
    pub fn steps(&self) -> u64 {
        self.context.steps
    }

    /// Whether the next step needs no device.
    pub fn can_go_on_alone(&self) -> bool {
        let has = |cache: &Cache| cache.has(self.trained);
        self.trained < self.context.steps && self.cache.as_ref().is_some_and(has)
    }

    /// Trains the next step on samples that are kept.
    ///
    /// # Errors
    /// If they cannot be read, or as [`train`](Self::train).
    pub fn train_kept(&mut self, folder: &mut ServerFolder) -> Result<Trained, RunError> {
        let samples = match &mut self.cache {
            Some(cache) => cache.samples(self.trained)?,
            None => Vec::new(),
        };
        self.train(&samples, folder)
    }

    /// Trains the next step on `samples`. What is kept comes before what is told: a device that is gone
    /// by now gets it when it comes back.
    ///
    /// # Errors
    /// If the samples do not fit the network or a file cannot be written.
    pub fn train(
        &mut self,
        samples: &[EncodedSample],
        folder: &mut ServerFolder,
    ) -> Result<Trained, RunError> {
        let started = Instant::now();
        let (taps, hidden) = self.taps();
        let (batch, supervision) = decode(&*self.job.quantizer, taps, hidden, samples)?;
        let report = self.network.train_step(&batch, &supervision)?;
        let step = self.trained;
        self.trained += 1;
        let ack = Ack {
            step,
            samples: samples.len() as u32,
            loss: report.loss,
            learning_rate: report.learning_rate,
            seconds: started.elapsed().as_secs_f64(),
        };
        let ack = Frame::Ack(ack).encode();
        folder.note(step, &ack)?;
        let adapter = self.keep_when_due(step, folder)?;
        Ok(Trained { ack, adapter })
    }

    /// Keeps the run every so many steps and at every epoch's end, whose adapter is returned.
    fn keep_when_due(
        &mut self,
        step: u64,
        folder: &mut ServerFolder,
    ) -> Result<Option<Adapter>, RunError> {
        let epoch_ends = self.trained.is_multiple_of(self.steps_per_epoch);
        if epoch_ends || self.trained - self.kept >= self.job.checkpoint_steps {
            self.keep(folder)?;
        }
        let epoch = (step / self.steps_per_epoch) as u32;
        let adapter = |bytes| Adapter { epoch, bytes };
        epoch_ends.then(|| folder.adapter(epoch).map(adapter)).transpose()
    }

    /// Keeps how far the run has come, and what has come of samples. The adapter of an epoch that ends here
    /// comes first: a checkpoint after it means that the device can have it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, folder: &mut ServerFolder) -> Result<(), RunError> {
        if let Some(cache) = self.cache.as_mut().filter(|cache| cache.is_pending()) {
            cache.sync()?;
        }
        if self.trained > self.kept {
            if self.trained.is_multiple_of(self.steps_per_epoch) {
                let epoch = (self.trained / self.steps_per_epoch - 1) as u32;
                folder.keep_adapter(epoch, &self.network.adapter()?)?;
            }
            folder.keep(self.trained, &self.network.checkpoint()?)?;
            self.kept = self.trained;
        }
        Ok(())
    }
}

fn open_cache(
    job: &ServerJob<'_>,
    folder: &ServerFolder,
    shape: &RunShape,
) -> Result<Cache, RunError> {
    let RunShape { run, pipeline, side_network: context, samples, .. } = shape;
    let identity = Identity {
        run: run.0.clone(),
        bundle: context.bundle,
        pipeline: *pipeline,
        quantizer: job.quantizer.format().to_string(),
        taps: context.taps.clone(),
        hidden: context.hidden,
    };
    let batch = job.training.batch as u64;
    let steps = Steps { samples: *samples, batch, seed: context.seed };
    Cache::open(job.store, &folder.store_path(), &identity, steps)
}

/// Trains the run of `folder` on samples that are kept, until it is done or `interrupted`.
///
/// # Errors
/// If what is kept cannot be read or written, or the server is to stop.
pub fn train_alone(
    job: &ServerJob<'_>,
    folder: &mut ServerFolder,
    interrupted: impl Fn() -> bool,
    watch: &Watch<'_>,
) -> Result<(), RunError> {
    let Some(shape) = folder.shape().filter(|shape| shape.pipeline == job.pipeline) else {
        return Ok(());
    };
    if !job.store.caches() || folder.next_step() == shape.side_network.steps || interrupted() {
        return Ok(());
    }
    let mut training = Training::open(job, folder, shape, watch)?;
    if !training.can_go_on_alone() {
        return Ok(());
    }
    let message = format!(
        "no device is needed: training goes on with the samples in the store, {} of {} steps are done",
        training.trained(),
        training.steps()
    );
    watch.news(News::Note { message });
    let outcome = (|| {
        while training.can_go_on_alone() && !interrupted() {
            watch.check()?;
            training.train_kept(folder)?;
        }
        Ok(())
    })();
    let outcome = crate::error::and_tidied(outcome, training.keep(folder));
    if outcome.is_ok() && training.trained() == training.steps() {
        let message = "every epoch is trained; waiting for the device to fetch the result".into();
        watch.news(News::Note { message });
    }
    outcome
}
