//! One session of a server: from a hello to the end of the link.

use std::sync::Arc;

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::sample::{EncodedSample, Objective};
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_core::transport::{Lane, TransportError};
use mobillm_store::{StoreConfig, record_bytes};
use mobillm_wire::frame::{Adapter, Frame, Stored};
use mobillm_wire::handshake::{Hello, Refusal, Welcome};
use mobillm_wire::inbox::{Event, Inbox};
use mobillm_wire::{VERSION, WireError};

use crate::config::TrainingConfig;
use crate::error::{RunError, and_tidied};
use crate::link::{ThreadLink, unexpected};
use crate::progress::Watch;
use crate::server::ServerFolder;
use crate::server::cache::Cache;
use crate::server::folder::RunShape;
use crate::server::training::{Trained, Training};
use crate::stop::Stop;

/// What a server is set up with, whatever device comes.
pub struct ServerJob<'a> {
    /// What both configs must have in common.
    pub pipeline: Fingerprint,
    /// Decodes what the device sends.
    pub quantizer: Arc<dyn Quantizer>,
    /// Builds the side network.
    pub side_network: &'a dyn SideNetworkConfig,
    /// What its own config says of the task and the training.
    pub objective: Objective,
    /// See `objective`.
    pub training: &'a TrainingConfig,
    /// Whether and where samples are kept.
    pub store: &'a StoreConfig,
    /// Steps between two checkpoints.
    pub checkpoint_steps: u64,
}

impl ServerJob<'_> {
    /// Whether a run can be served as a device asks for it.
    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        let context = &hello.side_network;
        let ours = (self.objective, self.training.optimizer, self.training.seed);
        let TrainingConfig { batch, epochs, .. } = *self.training;
        let steps_per_epoch = hello.samples.div_ceil(batch as u64);
        let steps = steps_per_epoch.saturating_mul(epochs as u64);
        if ours != (context.objective, context.optimizer, context.seed)
            || (steps_per_epoch, steps) != (hello.steps_per_epoch, context.steps)
        {
            let reason = "the device's task or training is not the one of the server's config";
            return Err(Refusal::new(reason.into()));
        }
        if let Some(mistake) = self.side_network.check(context).first() {
            return Err(Refusal::new(mistake.to_string()));
        }
        self.check_room(hello)
    }

    /// A store that cannot take all samples says so before the first one is computed.
    fn check_room(&self, hello: &Hello) -> Result<(), Refusal> {
        let (StoreConfig::Memory { limit_mib } | StoreConfig::Disk { limit_mib, .. }) = self.store
        else {
            return Ok(());
        };
        let context = &hello.side_network;
        let row_bytes = self.quantizer.row_bytes(context.hidden);
        let numbers = context.supervision.numbers(context.objective.outputs());
        let record = |rows| record_bytes(rows, row_bytes, context.taps.len(), numbers);
        let samples = hello.samples.saturating_mul(record(0));
        let needed = hello.rows.saturating_mul(record(1) - record(0)).saturating_add(samples);
        if needed <= limit_mib.saturating_mul(1 << 20) {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "{} samples need {} MiB in the store and `server.store.limit_mib` is {limit_mib}; raise it, or \
             choose a quantizer or selector that sends less",
            hello.samples,
            needed.div_ceil(1 << 20)
        )))
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The device has all that it wants; the run is finished.
    Finished,
    /// The device went away before; the run can be gone on with.
    Interrupted,
}

/// Serves the device at the other end of `link` until it finishes or goes away. Whatever happens
/// after the first step, a checkpoint is kept and the device is told why.
///
/// # Errors
/// If the device does not fit, breaks the protocol, or a file cannot be written.
pub fn serve(
    job: &ServerJob<'_>,
    folder: &mut ServerFolder,
    link: ThreadLink,
    watch: &Watch<'_>,
) -> Result<Served, RunError> {
    let result = greet(job, folder, &link, watch).and_then(|mut session| {
        let outcome = session.run(folder, &link, &watch.stop);
        and_tidied(outcome, session.training.keep(folder))
    });
    match &result {
        Ok(_) => link.close(),
        Err(RunError::Stopped) => link.fail("the server was stopped; start it again and go on"),
        Err(error) => link.fail(&error.to_string()),
    }
    result
}

/// Takes the hello, refuses or welcomes, and sends what the device has missed.
fn greet<'a>(
    job: &'a ServerJob<'a>,
    folder: &mut ServerFolder,
    link: &ThreadLink,
    watch: &Watch<'_>,
) -> Result<Session<'a>, RunError> {
    let stop = &watch.stop;
    let hello = match link.receive_first(stop)? {
        Some(Frame::Hello(hello)) => *hello,
        Some(other) => return Err(unexpected(&other, "Hello").into()),
        None => return Err(TransportError::Closed.into()),
    };
    let fits = hello.check(job.pipeline).and_then(|()| job.check(&hello));
    if let Err(refusal) = fits.and_then(|()| folder.enter(&hello)) {
        link.send(stop, Frame::Refuse(refusal.clone()).encode(), Lane::Control)?;
        return Err(WireError::Handshake(refusal).into());
    }
    folder.save_entry()?;
    let shape = RunShape::of(&hello);
    let session = Session::new(Training::open(job, folder, shape, watch)?, job);
    folder.forget_adapters(hello.epochs_received)?;
    let next_step = folder.next_step();
    let stored_steps = session.training.cache.as_ref().map_or(0, Cache::stored_steps);
    let welcome = Welcome { version: VERSION, next_step, stored_steps };
    link.send(stop, Frame::Welcome(welcome).encode(), Lane::Control)?;
    for step in hello.steps_received..next_step {
        link.send(stop, folder.ack(step)?, Lane::Control)?;
    }
    let done = next_step / hello.steps_per_epoch;
    for epoch in hello.epochs_received..done as u32 {
        let bytes = folder.adapter(epoch)?;
        link.send(stop, Frame::Adapter(Adapter { epoch, bytes }).encode(), Lane::Bulk)?;
    }
    Ok(session)
}

struct Session<'a> {
    training: Training<'a>,
    inbox: Inbox,
    /// Steps that the device knows to be stored.
    told: u64,
}

impl<'a> Session<'a> {
    fn new(training: Training<'a>, job: &ServerJob<'_>) -> Self {
        let needed = match &training.cache {
            Some(cache) => cache.stored_steps(),
            None => training.trained(),
        };
        let (taps, hidden) = training.taps();
        let inbox = Inbox::new(job.quantizer.clone(), taps, hidden, needed);
        Self { training, inbox, told: needed }
    }

    /// What the device sends comes first: it waits for nothing but its samples to be safe. When
    /// nothing has come, there is time to make them so and to train.
    fn run(
        &mut self,
        folder: &mut ServerFolder,
        link: &ThreadLink,
        stop: &Stop,
    ) -> Result<Served, RunError> {
        loop {
            let frame = match self.has_work() {
                false => link.receive(stop)?,
                true => match link.try_receive() {
                    Ok(None) => {
                        self.work(folder, link, stop)?;
                        continue;
                    }
                    Err(RunError::Transport(TransportError::Closed)) => None,
                    frame => frame?,
                },
            };
            let Some(frame) = frame else { return Ok(Served::Interrupted) };
            match self.inbox.receive(frame)? {
                Event::Waiting => {}
                Event::Finished => return Ok(Served::Finished),
                Event::Step { step, samples } => self.take(step, &samples, folder, link, stop)?,
            }
        }
    }

    /// Keeps the samples of a step, or trains on them at once.
    fn take(
        &mut self,
        step: u64,
        samples: &[EncodedSample],
        folder: &mut ServerFolder,
        link: &ThreadLink,
        stop: &Stop,
    ) -> Result<(), RunError> {
        match &mut self.training.cache {
            Some(cache) => {
                cache.append(step, samples)?;
                cache.sync_if_due()?;
                self.tell_stored(link, stop)
            }
            None => tell(self.training.train(samples, folder)?, link, stop),
        }
    }

    fn has_work(&self) -> bool {
        let pending = self.training.cache.as_ref().is_some_and(Cache::is_pending);
        pending || self.training.can_go_on_alone()
    }

    fn work(
        &mut self,
        folder: &mut ServerFolder,
        link: &ThreadLink,
        stop: &Stop,
    ) -> Result<(), RunError> {
        if stop.is_requested() {
            return Err(RunError::Stopped);
        }
        if let Some(cache) = self.training.cache.as_mut().filter(|cache| cache.is_pending()) {
            cache.sync()?;
            return self.tell_stored(link, stop);
        }
        tell(self.training.train_kept(folder)?, link, stop)
    }

    /// Tells what is stored since the last time.
    fn tell_stored(&mut self, link: &ThreadLink, stop: &Stop) -> Result<(), RunError> {
        let steps = self.training.cache.as_ref().map_or(0, Cache::stored_steps);
        if steps > self.told {
            self.told = steps;
            link.send(stop, Frame::Stored(Stored { steps }).encode(), Lane::Control)?;
        }
        Ok(())
    }
}

fn tell(trained: Trained, link: &ThreadLink, stop: &Stop) -> Result<(), RunError> {
    link.send(stop, trained.ack, Lane::Control)?;
    if let Some(adapter) = trained.adapter {
        link.send(stop, Frame::Adapter(adapter).encode(), Lane::Bulk)?;
    }
    Ok(())
}
