//! One session of a server: from a hello to the end of the link.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{SideNetwork, SideNetworkConfig, SideNetworkContext};
use mobillm_core::transport::Lane;
use mobillm_wire::VERSION;
use mobillm_wire::frame::{Ack, Adapter, Frame};
use mobillm_wire::handshake::{Hello, Refusal, Welcome};
use mobillm_wire::inbox::{Event, Inbox, Sample};

use crate::config::TrainingConfig;
use crate::error::{RunError, and_tidied};
use crate::link::{ThreadLink, unexpected};
use crate::server::ServerFolder;
use crate::server::decode::decode;
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
    /// Steps between two checkpoints.
    pub checkpoint_steps: u64,
}

impl ServerJob<'_> {
    /// Whether a side network can be built as a device asks for it.
    fn check(&self, context: &SideNetworkContext) -> Result<(), Refusal> {
        let ours = (self.objective, self.training.optimizer, self.training.seed);
        if ours != (context.objective, context.optimizer, context.seed) {
            let reason = "the device's task or training is not the one of the server's config";
            return Err(Refusal::new(reason.into()));
        }
        match self.side_network.check(context).first() {
            Some(mistake) => Err(Refusal::new(mistake.to_string())),
            None => Ok(()),
        }
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
    stop: &Stop,
) -> Result<Served, RunError> {
    let result = greet(job, folder, &link, stop).and_then(|mut session| {
        let outcome = session.run(folder, &link, stop);
        and_tidied(outcome, session.keep(folder))
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
    stop: &Stop,
) -> Result<Session<'a>, RunError> {
    let hello = match link.receive_first(stop)? {
        Some(Frame::Hello(hello)) => *hello,
        Some(other) => return Err(unexpected(&other, "Hello").into()),
        None => return Err(mobillm_core::transport::TransportError::Closed.into()),
    };
    let fits = hello.check(job.pipeline).and_then(|()| job.check(&hello.side_network));
    if let Err(refusal) = fits.and_then(|()| folder.enter(&hello)) {
        link.send(stop, Frame::Refuse(refusal.clone()).encode(), Lane::Control)?;
        return Err(mobillm_wire::WireError::Handshake(refusal).into());
    }
    let session = Session::new(job, folder, &hello)?;
    folder.forget_adapters(hello.epochs_received)?;
    let next_step = folder.next_step();
    let welcome = Welcome { version: VERSION, next_step };
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
    job: &'a ServerJob<'a>,
    context: SideNetworkContext,
    steps_per_epoch: u64,
    network: Box<dyn SideNetwork>,
    inbox: Inbox,
    /// Steps that were trained.
    trained: u64,
    /// Steps that are in the last checkpoint.
    kept: u64,
}

impl<'a> Session<'a> {
    fn new(job: &'a ServerJob<'a>, folder: &ServerFolder, hello: &Hello) -> Result<Self, RunError> {
        let context = hello.side_network.clone();
        let mut network = job.side_network.build(&context)?;
        if let Some(checkpoint) = folder.checkpoint()? {
            network.restore(&checkpoint)?;
        }
        let next_step = folder.next_step();
        let quantizer = job.quantizer.clone();
        let inbox = Inbox::new(quantizer, context.taps.len(), context.hidden, next_step);
        let steps_per_epoch = hello.steps_per_epoch;
        Ok(Self {
            job,
            context,
            steps_per_epoch,
            network,
            inbox,
            trained: next_step,
            kept: next_step,
        })
    }

    fn run(
        &mut self,
        folder: &mut ServerFolder,
        link: &ThreadLink,
        stop: &Stop,
    ) -> Result<Served, RunError> {
        loop {
            let Some(frame) = link.receive(stop)? else { return Ok(Served::Interrupted) };
            match self.inbox.receive(frame)? {
                Event::Waiting => {}
                Event::Finished => return Ok(Served::Finished),
                Event::Step { step, samples } => {
                    let ack = self.train(step, &samples)?;
                    // What is kept comes before what is told: a device that is gone by now gets it
                    // when it comes back.
                    folder.note(step, &ack)?;
                    let adapter = self.keep_when_due(step, folder)?;
                    link.send(stop, ack, Lane::Control)?;
                    if let Some(adapter) = adapter {
                        link.send(stop, Frame::Adapter(adapter).encode(), Lane::Bulk)?;
                    }
                }
            }
        }
    }

    /// Trains on `samples` and returns the acknowledgement.
    fn train(&mut self, step: u64, samples: &[Sample]) -> Result<Bytes, RunError> {
        let started = Instant::now();
        let (taps, hidden) = (self.context.taps.len(), self.context.hidden);
        let (batch, supervision) = decode(&*self.job.quantizer, taps, hidden, samples)?;
        let report = self.network.train_step(&batch, &supervision)?;
        self.trained = step + 1;
        let ack = Ack {
            step,
            samples: samples.len() as u32,
            loss: report.loss,
            learning_rate: report.learning_rate,
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok(Frame::Ack(ack).encode())
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

    /// The adapter of an epoch that ends here comes first: a checkpoint after it means that the
    /// device can have it.
    fn keep(&mut self, folder: &mut ServerFolder) -> Result<(), RunError> {
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
