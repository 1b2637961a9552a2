//! A run on the server: the side network, the samples that are kept for it, and how far it has come.

use std::time::Instant;

use mobillm_core::sample::EncodedSample;
use mobillm_core::side_network::{SideNetwork, SideNetworkContext, SideNetworkError};
use mobillm_store::{Identity, StoreConfig};
use mobillm_wire::WireError;
use mobillm_wire::frame::{Ack, Frame};

use crate::error::{RunError, and_tidied};
use crate::progress::{News, Watch};
use crate::server::cache::{Cache, Steps};
use crate::server::decode::decode;
use crate::server::folder::RunShape;
use crate::server::{ServerFolder, ServerJob};

/// A run on the server.
pub(super) struct Training<'a> {
    job: &'a ServerJob<'a>,
    shape: RunShape,
    network: Box<dyn SideNetwork>,
    /// The samples, if the server keeps them.
    pub cache: Option<Cache>,
    /// Steps that were trained.
    trained: u64,
    /// Steps that are in the last checkpoint.
    kept: u64,
}

impl<'a> Training<'a> {
    /// Goes on with the run `shape` that `folder` holds.
    ///
    /// # Errors
    /// If the network cannot be built or what was kept cannot be read.
    pub fn open(
        job: &'a ServerJob<'a>,
        folder: &mut ServerFolder,
        shape: RunShape,
        watch: &Watch<'_>,
    ) -> Result<Self, RunError> {
        let mut network = job.side_network.build(&shape.side_network)?;
        if let Some(checkpoint) = folder.checkpoint()? {
            network.restore(&checkpoint)?;
        }
        let cache = match job.store {
            StoreConfig::None => None,
            _ => Some(match folder.take_cache(&shape) {
                Some(cache) => cache,
                None => open_cache(job, folder, &shape)?,
            }),
        };
        if let Some(repaired) = cache.as_ref().and_then(Cache::recovered) {
            watch.news(News::Warning { message: repaired.to_owned() });
        }
        let trained = folder.next_step();
        Ok(Self { job, shape, network, cache, trained, kept: trained })
    }

    /// Keeps how far the run has come. What is in memory alone stays in `folder`, for the next one who
    /// opens it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn close(mut self, folder: &mut ServerFolder) -> Result<(), RunError> {
        let kept = self.keep(folder);
        if let (StoreConfig::Memory { .. }, Some(cache)) = (self.job.store, self.cache) {
            folder.put_cache(self.shape, cache);
        }
        kept
    }

    /// Number and width of the tapped layers.
    pub fn taps(&self) -> (usize, usize) {
        (self.shape.side_network.taps.len(), self.shape.side_network.hidden)
    }

    /// Steps that were trained.
    pub fn trained(&self) -> u64 {
        self.trained
    }

    /// All steps of the run.
    pub fn steps(&self) -> u64 {
        self.shape.side_network.steps
    }

    /// Steps of the first epoch whose samples are kept.
    pub fn stored_steps(&self) -> u64 {
        self.cache.as_ref().map_or(0, Cache::stored_steps)
    }

    /// Whether samples were taken that are not safe yet.
    pub fn is_pending(&self) -> bool {
        self.cache.as_ref().is_some_and(Cache::is_pending)
    }

    /// Whether the next step needs no device.
    pub fn can_go_on_alone(&self) -> bool {
        let has = |cache: &Cache| cache.has(self.trained);
        self.trained < self.steps() && self.cache.as_ref().is_some_and(has)
    }

    /// Takes the samples of `step`: keeps them, or trains on them at once.
    ///
    /// # Errors
    /// If they are not what the device said that it sends, cannot be kept, or as [`train`](Self::train).
    pub fn take(
        &mut self,
        step: u64,
        samples: &[EncodedSample],
        folder: &mut ServerFolder,
    ) -> Result<(), RunError> {
        let SideNetworkContext { supervision: kind, objective, .. } = &self.shape.side_network;
        let fits = |sample: &&EncodedSample| sample.supervision.fits(*kind, objective.outputs());
        if let Some(sample) = samples.iter().find(|sample| !fits(sample)) {
            let problem = format!(
                "sample {}: expected a finite {kind} for {} outputs, got {:?}",
                sample.id,
                objective.outputs(),
                sample.supervision
            );
            return Err(WireError::Order { frame: "Supervise", problem }.into());
        }
        match &mut self.cache {
            Some(cache) => {
                cache.append(step, samples)?;
                cache.sync_if_due()
            }
            None => self.train(samples, folder),
        }
    }

    /// Makes samples safe, or trains the next step on those that are.
    ///
    /// # Errors
    /// If they cannot be written or read, or the network cannot be trained on them.
    pub fn work(&mut self, folder: &mut ServerFolder) -> Result<(), RunError> {
        let step = self.trained;
        let samples = match &mut self.cache {
            Some(cache) if cache.is_pending() => return cache.sync(),
            Some(cache) => cache.samples(step)?,
            None => return Ok(()),
        };
        let trained = self.train(&samples, folder);
        if let (Err(RunError::SideNetwork(SideNetworkError::Batch { .. })), Some(cache)) =
            (&trained, &mut self.cache)
        {
            // Whatever is wrong with them, the device is asked for them again.
            cache.let_go()?;
        }
        trained
    }

    /// Trains the next step on `samples`. What is kept comes before what is told: a device that is gone
    /// by now gets it when it comes back.
    fn train(
        &mut self,
        samples: &[EncodedSample],
        folder: &mut ServerFolder,
    ) -> Result<(), RunError> {
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
        folder.note(step, &Frame::Ack(ack).encode())?;
        let epoch_ends = self.trained.is_multiple_of(self.shape.steps_per_epoch);
        if epoch_ends || self.trained - self.kept >= self.job.checkpoint_steps {
            self.keep(folder)?;
        }
        Ok(())
    }

    /// Keeps how far the run has come, and what has come of samples.
    ///
    /// # Errors
    /// If it cannot be written; the one does not keep the other from being tried.
    fn keep(&mut self, folder: &mut ServerFolder) -> Result<(), RunError> {
        let pending = self.cache.as_mut().filter(|cache| cache.is_pending());
        let synced = pending.map_or(Ok(()), Cache::sync);
        self.checkpoint(folder).and(synced)
    }

    /// The adapter of an epoch that ends here comes first: a checkpoint after it means that the device
    /// can have it.
    fn checkpoint(&mut self, folder: &mut ServerFolder) -> Result<(), RunError> {
        if self.trained > self.kept {
            if self.trained.is_multiple_of(self.shape.steps_per_epoch) {
                let epoch = (self.trained / self.shape.steps_per_epoch - 1) as u32;
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
    interrupted: &dyn Fn() -> bool,
    watch: &Watch<'_>,
) -> Result<(), RunError> {
    let Some(shape) = folder.shape() else { return Ok(()) };
    if let Err(reason) = check(job, folder, &shape) {
        // A run without work is replaced by whichever comes first, with these plugins and this config.
        if folder.has_work() {
            let message = format!("{reason}; until then its device is refused");
            watch.news(News::Warning { message });
        }
        return Ok(());
    }
    let steps = shape.side_network.steps;
    if job.store.caches() && folder.next_step() < steps && !interrupted() {
        let mut training = Training::open(job, folder, shape, watch)?;
        let outcome = go_on(&mut training, folder, interrupted, watch);
        and_tidied(outcome, training.close(folder))?;
    }
    if folder.next_step() == steps {
        let message = "every epoch is trained; waiting for the device to fetch the result".into();
        watch.news(News::Note { message });
    }
    Ok(())
}

/// Why `job` may not go on with the run `shape` that `folder` holds.
fn check(job: &ServerJob<'_>, folder: &ServerFolder, shape: &RunShape) -> Result<(), String> {
    if shape.pipeline != job.pipeline {
        let reason = "the run was begun with another config, or by another release; go on with the old one, or \
                      begin a new run";
        return Err(reason.to_owned());
    }
    folder.check_plugins(&job.plugins)
}

fn go_on(
    training: &mut Training<'_>,
    folder: &mut ServerFolder,
    interrupted: &dyn Fn() -> bool,
    watch: &Watch<'_>,
) -> Result<(), RunError> {
    if training.can_go_on_alone() {
        let message = format!(
            "no device is needed: training goes on with the samples in the store, {} of {} steps are \
             done",
            training.trained(),
            training.steps()
        );
        watch.news(News::Note { message });
    }
    while training.can_go_on_alone() && !interrupted() {
        watch.check()?;
        training.work(folder)?;
    }
    Ok(())
}
