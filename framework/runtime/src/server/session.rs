//! One session of a server: from a hello to the end of the link.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_core::transport::{Lane, TransportError};
use mobillm_plugin::Manifest;
use mobillm_store::{StoreConfig, record_bytes};
use mobillm_wire::frame::{Adapter, Frame, Stored};
use mobillm_wire::handshake::{Hello, Refusal, Welcome};
use mobillm_wire::inbox::{Event, Inbox, Room};
use mobillm_wire::{VERSION, WireError};

use crate::config::TrainingConfig;
use crate::error::{RunError, and_tidied};
use crate::link::{Heard, ThreadLink, unexpected};
use crate::progress::Watch;
use crate::server::ServerFolder;
use crate::server::folder::RunShape;
use crate::server::training::Training;
use crate::stop::Stop;

/// What a server is set up with, whatever device comes.
pub struct ServerJob<'a> {
    /// What both configs must have in common.
    pub pipeline: Fingerprint,
    /// Decodes what the device sends.
    pub quantizer: Arc<dyn Quantizer>,
    /// Builds the side network.
    pub side_network: &'a dyn SideNetworkConfig,
    /// The dynamic libraries that these two come from.
    pub plugins: Vec<Manifest>,
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

/// How long a device may neither send nor take anything while another one waits. A device that comes back
/// over a new connection, because its old one is dead, waits a little longer for its welcome.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves the device at the other end of `link` until it finishes or goes away, or is silent while
/// `others` wait. Whatever happens after the first step, a checkpoint is kept and the device is told why.
///
/// # Errors
/// If the device does not fit, breaks the protocol, or a file cannot be written.
pub fn serve(
    job: &ServerJob<'_>,
    folder: &mut ServerFolder,
    link: ThreadLink,
    others: &dyn Fn() -> bool,
    watch: &Watch<'_>,
) -> Result<Served, RunError> {
    let result = greet(job, folder, &link, &watch.stop).and_then(|hello| {
        let mut session = Session::open(job, folder, &hello, watch)?;
        let outcome = session.run(folder, &link, others, &watch.stop);
        and_tidied(outcome, session.training.close(folder))
    });
    match &result {
        Ok(_) => link.close(),
        Err(RunError::Stopped) => link.fail("the server was stopped; start it again and go on"),
        Err(error) => link.fail(&error.to_string()),
    }
    result
}

/// Takes the hello, and refuses it if it does not fit.
fn greet(
    job: &ServerJob<'_>,
    folder: &mut ServerFolder,
    link: &ThreadLink,
    stop: &Stop,
) -> Result<Hello, RunError> {
    let hello = match link.receive_first(stop)? {
        Some(Frame::Hello(hello)) => *hello,
        Some(other) => return Err(unexpected(&other, "Hello").into()),
        None => return Err(TransportError::Closed.into()),
    };
    let fits = hello.check(job.pipeline).and_then(|()| job.check(&hello));
    if let Err(refusal) = fits.and_then(|()| folder.enter(&hello, &job.plugins)) {
        link.send(stop, Frame::Refuse(refusal.clone()).encode(), Lane::Control)?;
        return Err(WireError::Handshake(refusal).into());
    }
    folder.save_entry()?;
    Ok(hello)
}

struct Session<'a> {
    training: Training<'a>,
    inbox: Inbox,
    steps_per_epoch: u64,
    /// Steps that the device knows to be stored.
    told: u64,
    /// Steps whose acknowledgement was sent.
    acknowledged: u64,
    /// Epochs whose adapter was sent.
    adapters: u64,
}

impl<'a> Session<'a> {
    fn open(
        job: &'a ServerJob<'a>,
        folder: &mut ServerFolder,
        hello: &Hello,
        watch: &Watch<'_>,
    ) -> Result<Self, RunError> {
        let training = Training::open(job, folder, RunShape::of(hello), watch)?;
        folder.forget_adapters(hello.epochs_received)?;
        let told = training.stored_steps();
        let needed = if job.store.caches() { told } else { training.trained() };
        let (taps, hidden) = training.taps();
        let room = Room { samples: hello.samples, rows: hello.rows };
        let inbox = Inbox::new(job.quantizer.clone(), taps, hidden, needed, room);
        Ok(Self {
            training,
            inbox,
            steps_per_epoch: hello.steps_per_epoch,
            told,
            acknowledged: hello.steps_received.min(folder.next_step()),
            adapters: hello.epochs_received.into(),
        })
    }

    /// What the device sends comes first: it waits for nothing but its samples to be safe. When
    /// nothing has come, there is time to make them so and to train. A device that takes nothing
    /// holds up neither.
    fn run(
        &mut self,
        folder: &mut ServerFolder,
        link: &ThreadLink,
        others: &dyn Fn() -> bool,
        stop: &Stop,
    ) -> Result<Served, RunError> {
        let (next_step, stored_steps) = (folder.next_step(), self.told);
        let welcome = Welcome { version: VERSION, next_step, stored_steps };
        link.send(stop, Frame::Welcome(welcome).encode(), Lane::Control)?;
        let mut alive = Instant::now();
        loop {
            let works = self.training.is_pending() || self.training.can_go_on_alone();
            let wait = if works { Duration::ZERO } else { Duration::from_millis(50) };
            if self.tell(folder, link, wait, stop)? {
                alive = Instant::now();
            }
            match link.listen(stop, wait)? {
                Heard::End => return Ok(Served::Interrupted),
                Heard::Nothing if works => self.training.work(folder)?,
                Heard::Nothing => {}
                Heard::Frame(frame) => {
                    alive = Instant::now();
                    match self.inbox.receive(frame)? {
                        Event::Waiting => {}
                        Event::Finished => return Ok(Served::Finished),
                        Event::Step { step, samples } => {
                            self.training.take(step, &samples, folder)?;
                        }
                    }
                }
            }
            if alive.elapsed() > PATIENCE && others() {
                return Ok(Served::Interrupted);
            }
        }
    }

    /// Tells what the device does not know yet, as far as the link takes it within `wait` a frame.
    /// Whether it took any.
    fn tell(
        &mut self,
        folder: &mut ServerFolder,
        link: &ThreadLink,
        wait: Duration,
        stop: &Stop,
    ) -> Result<bool, RunError> {
        let mut took = false;
        while self.has_news() && link.has_room(wait) {
            let (frame, lane) = self.next_news(folder)?;
            link.send(stop, frame, lane)?;
            took = true;
        }
        Ok(took)
    }

    fn has_news(&self) -> bool {
        self.training.stored_steps() > self.told
            || self.training.trained() > self.acknowledged
            || self.next_epoch_is_acknowledged()
    }

    fn next_epoch_is_acknowledged(&self) -> bool {
        (self.adapters + 1) * self.steps_per_epoch <= self.acknowledged
    }

    fn next_news(&mut self, folder: &mut ServerFolder) -> Result<(Bytes, Lane), RunError> {
        let stored = self.training.stored_steps();
        if stored > self.told {
            self.told = stored;
            return Ok((Frame::Stored(Stored { steps: stored }).encode(), Lane::Control));
        }
        if self.next_epoch_is_acknowledged() {
            let epoch = self.adapters as u32;
            self.adapters += 1;
            let adapter = Adapter { epoch, bytes: folder.adapter(epoch)? };
            return Ok((Frame::Adapter(adapter).encode(), Lane::Bulk));
        }
        self.acknowledged += 1;
        Ok((folder.ack(self.acknowledged - 1)?, Lane::Control))
    }
}
