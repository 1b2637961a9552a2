//! One session of a device: from its hello to the last epoch's evaluation.
//!
//! The device's forward passes and the server's steps overlap: a window of steps goes out while the
//! server still trains on the ones before, at most `ahead` steps behind.
//!
//! To a server that keeps samples the device sends the first epoch only, at most `ahead` steps before
//! what is stored. Then it has nothing to do but to take adapters and evaluate them; it may as well
//! leave and come back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::sample::{RunKey, SampleId};
use mobillm_core::side_network::{SideNetworkConfig, SideNetworkContext, StepReport};
use mobillm_core::transport::{Lane, Transport, TransportError};
use mobillm_task::schedule::MicroBatch;
use mobillm_wire::WireError;
use mobillm_wire::frame::{Ack, Adapter, Frame, Stored};
use mobillm_wire::handshake::{Hello, Welcome, Work};

use crate::device::held_out::{Evaluation, HeldOut};
use crate::device::meter::Meter;
use crate::device::prepare::Prepared;
use crate::device::taps::TapPath;
use crate::error::{RunError, and_tidied};
use crate::link::{ThreadLink, unexpected};
use crate::progress::{News, Phase, Watch};
use crate::run::summary::EpochSummary;
use crate::run::{Ledger, RunFolder, Spent};

/// What a device trains with.
pub struct DeviceJob<'a> {
    /// What both configs must have in common.
    pub pipeline: Fingerprint,
    /// What the server builds the side network from.
    pub context: SideNetworkContext,
    /// The rows, and which of them make which step.
    pub prepared: &'a Prepared,
    /// How much there is to train on.
    pub work: Work,
    /// Whether the server keeps samples.
    pub cached: bool,
    /// Whether to leave as soon as the server has all samples.
    pub leave: bool,
    /// Backbone, selector and policy.
    pub path: TapPath,
    /// The policy's tag.
    pub policy_tag: &'static str,
    /// Encodes what leaves.
    pub quantizer: Arc<dyn Quantizer>,
    /// Loads the adapters that the server sends back.
    pub predictor: &'a dyn SideNetworkConfig,
    /// What goes forward together.
    pub micro_batch: MicroBatch,
    /// Steps that may be on their way to the server when the next window begins.
    pub ahead: u64,
    /// What the link runs over.
    pub transport: &'a dyn Transport,
    /// When the session began, reading the data included.
    pub began: Instant,
    /// Whether the device has its process to itself, so that its memory can be told.
    pub own_process: bool,
}

/// What the server hears when a device fails. The error itself may hold paths and activations: it
/// stays on the device.
pub const GAVE_UP: &str = "its own output says why";

/// How a session ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The last epoch is evaluated.
    Finished,
    /// The server has all samples and goes on alone.
    Left,
}

/// Trains until the last epoch is evaluated, or until the device may leave. The state in `folder` says
/// how far it came, whatever happens.
///
/// # Errors
/// If a stage, the link or the server fails, or the run is to stop; the run can be gone on with.
pub fn train(
    job: DeviceJob<'_>,
    evaluation: Evaluation,
    folder: &mut RunFolder,
    link: ThreadLink,
    watch: &Watch<'_>,
) -> Result<Ended, RunError> {
    let mut meter = Meter::new(link.traffic().clone(), job.transport, job.began, job.own_process);
    let session = Session::begin(job, evaluation, folder, &link, watch, &mut meter);
    let result = session.and_then(|mut session| {
        let result = session.run();
        session.meter.book_epoch(&mut session.folder.state);
        and_tidied(result, session.ledger.flush().and(session.save()))
    });
    match &result {
        Ok(_) | Err(RunError::Stopped) => link.close(),
        Err(_) => link.fail(GAVE_UP),
    }
    // The last frame's bytes are counted only now.
    meter.book(&mut folder.state);
    and_tidied(result, folder.save())
}

pub(super) struct Session<'a, 't> {
    pub(super) job: DeviceJob<'a>,
    pub(super) folder: &'a mut RunFolder,
    pub(super) link: &'a ThreadLink,
    pub(super) watch: &'a Watch<'a>,
    pub(super) key: RunKey,
    /// Micro-batches sent.
    pub(super) micro_batches: u32,
    /// Samples sent.
    pub(super) samples: u32,
    ledger: Ledger,
    held_out: HeldOut,
    /// Steps that the server had trained when the session began.
    first_step: u64,
    /// Steps that the server has trained.
    trained: u64,
    /// Steps of the first epoch whose samples the server has stored.
    stored: u64,
    meter: &'a mut Meter<'t>,
}

impl<'a, 't> Session<'a, 't> {
    /// Shakes hands, then runs the held-out rows forward.
    fn begin(
        mut job: DeviceJob<'a>,
        evaluation: Evaluation,
        folder: &'a mut RunFolder,
        link: &'a ThreadLink,
        watch: &'a Watch<'a>,
        meter: &'a mut Meter<'t>,
    ) -> Result<Self, RunError> {
        let mut ledger = Ledger::open(folder.path(), job.prepared.schedule.steps_per_epoch())?;
        let Welcome { next_step, stored_steps, .. } =
            shake_hands(&job, folder, &ledger, link, watch)?;
        ledger.take_back(next_step)?;
        let began = Instant::now();
        let key = folder.state.key().clone();
        let (train, rows) = (&job.prepared.train, &job.prepared.held_out);
        let first = train.tokens.len() as u64;
        let names: Vec<SampleId> =
            (first..first + rows.tokens.len() as u64).map(|row| key.sample_id(row)).collect();
        let held_out = HeldOut::forward(
            folder.path(),
            &mut job.path,
            evaluation,
            rows,
            &names,
            job.micro_batch,
            watch,
        )?;
        folder.state.before = Some(held_out.evaluate_untrained()?.main().1);
        folder.state.device.held_out_forwarded += rows.tokens.len() as u64;
        folder.state.device.eval_seconds += began.elapsed().as_secs_f64();
        meter.begin_epoch();
        Ok(Self {
            job,
            folder,
            link,
            watch,
            ledger,
            held_out,
            key,
            first_step: next_step,
            trained: next_step,
            stored: stored_steps,
            micro_batches: 0,
            samples: 0,
            meter,
        })
    }

    fn run(&mut self) -> Result<Ended, RunError> {
        let schedule = &self.job.prepared.schedule;
        let steps_per_epoch = schedule.steps_per_epoch();
        self.watch.begin(Phase::Train, schedule.steps(), self.first_step);
        // What was missed comes first: until it is here, the server does not read.
        let missed = self.first_step / steps_per_epoch;
        while self.ledger.steps() < self.first_step || self.epochs() < missed {
            self.wait()?;
        }
        for window in self.windows() {
            let window = schedule.window(window);
            // A whole window is on its way before its first step can be done with, so waiting for
            // its first step alone cannot wait for ever.
            while window.steps.start >= self.done() + self.job.ahead {
                self.wait()?;
            }
            self.send_window(&window)?;
        }
        while self.epochs() < schedule.steps() / steps_per_epoch {
            if self.job.leave && self.stored == steps_per_epoch {
                return Ok(Ended::Left);
            }
            self.wait()?;
        }
        self.watch.end(Phase::Train);
        self.link.send(&self.watch.stop, Frame::Finish.encode(), Lane::Control)?;
        Ok(Ended::Finished)
    }

    /// The windows that the server still needs.
    fn windows(&self) -> Range<u64> {
        let schedule = &self.job.prepared.schedule;
        let is_trained = self.first_step == schedule.steps();
        let steps = match self.job.cached {
            true => self.stored..schedule.steps_per_epoch(),
            false => self.first_step..schedule.steps(),
        };
        match is_trained || steps.is_empty() {
            true => 0..0,
            false => {
                schedule.window_of_step(steps.start)..schedule.window_of_step(steps.end - 1) + 1
            }
        }
    }

    /// Steps whose samples the server need not be sent again in this session.
    fn done(&self) -> u64 {
        if self.job.cached { self.stored } else { self.trained }
    }

    /// Epochs that are evaluated.
    fn epochs(&self) -> u64 {
        self.folder.state.epochs.len() as u64
    }

    /// Takes what has come, without waiting.
    pub(super) fn take_what_has_come(&mut self) -> Result<(), RunError> {
        while let Some(frame) = self.link.try_receive()? {
            self.take(frame)?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), RunError> {
        match self.link.receive(&self.watch.stop)? {
            Some(frame) => self.take(frame),
            None => Err(TransportError::Closed.into()),
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), RunError> {
        match frame {
            Frame::Ack(ack) => self.note_step(&ack),
            Frame::Adapter(adapter) => self.evaluate(&adapter),
            Frame::Stored(Stored { steps })
                if self.job.cached && steps <= self.job.prepared.schedule.steps_per_epoch() =>
            {
                self.stored = self.stored.max(steps);
                Ok(())
            }
            other => Err(unexpected(&other, "Ack or Adapter").into()),
        }
    }

    fn note_step(&mut self, ack: &Ack) -> Result<(), RunError> {
        let expected = self.ledger.steps();
        if ack.step != expected || ack.step >= self.job.prepared.schedule.steps() {
            return Err(
                unexpected(&Frame::Ack(*ack), &format!("the Ack of step {expected}")).into()
            );
        }
        // After a resume the server first sends again what was missed: steps before the first.
        self.trained = self.trained.max(ack.step + 1);
        self.ledger.step(ack)?;
        let &Ack { step, loss, learning_rate, .. } = ack;
        self.watch.news(News::Step { report: StepReport { step, loss, learning_rate } });
        self.watch.advance(Phase::Train, self.trained);
        Ok(())
    }

    /// Loads the adapter of an epoch as any later prediction would, and scores it.
    fn evaluate(&mut self, adapter: &Adapter) -> Result<(), RunError> {
        let began = Instant::now();
        let epoch = adapter.epoch;
        let expected = self.folder.state.epochs.len() as u32;
        if epoch != expected {
            let frame = Frame::Adapter(adapter.clone());
            return Err(unexpected(&frame, &format!("the adapter of epoch {expected}")).into());
        }
        let network = self.job.predictor.load(&adapter.bytes)?;
        if let Some(misfit) = network.info().misfit(&self.job.context) {
            let problem = format!(
                "it is of another side network than this run's ({misfit}); use the same release and plugins on \
                 both ends"
            );
            return Err(WireError::Order { frame: "Adapter", problem }.into());
        }
        let eval = self.held_out.evaluate(&*network)?;
        self.folder.save_adapter(&adapter.bytes)?;
        let (metric, value) = eval.main();
        let steps = u64::from(epoch + 1) * self.job.prepared.schedule.steps_per_epoch();
        self.ledger.evaluation(steps, metric, value)?;
        self.watch.news(News::Epoch { epoch, metric: metric.to_owned(), value });
        let train_loss = self.ledger.mean_loss(epoch);
        let state = &mut self.folder.state;
        self.meter.book_epoch(state);
        let Spent { seconds, device_seconds, bytes_up } = *state.spent(u64::from(epoch));
        state.epochs.push(EpochSummary { seconds, device_seconds, bytes_up, train_loss, eval });
        state.device.eval_seconds += began.elapsed().as_secs_f64();
        self.save()
    }

    fn save(&mut self) -> Result<(), RunError> {
        self.folder.state.server = self.ledger.server();
        self.meter.book(&mut self.folder.state);
        self.folder.save()
    }
}

/// Returns where the server is.
fn shake_hands(
    job: &DeviceJob<'_>,
    folder: &RunFolder,
    ledger: &Ledger,
    link: &ThreadLink,
    watch: &Watch<'_>,
) -> Result<Welcome, RunError> {
    let schedule = &job.prepared.schedule;
    let (run, context) = (folder.state.run_id(), job.context.clone());
    let hello = Hello {
        steps_received: ledger.steps(),
        epochs_received: folder.state.epochs.len() as u32,
        ..Hello::new(run, job.pipeline, context, job.work)
    };
    link.send(&watch.stop, Frame::Hello(Box::new(hello)).encode(), Lane::Control)?;
    let evaluated = folder.state.epochs.len() as u64 * schedule.steps_per_epoch();
    match link.receive_first(&watch.stop)? {
        Some(Frame::Welcome(welcome)) if welcome.next_step < evaluated => Err(RunError::Folder {
            path: folder.path().to_owned(),
            problem:
                "the server does not have this run any more; start it with the folder that it \
                      had, or begin afresh with --fresh"
                    .into(),
        }),
        Some(Frame::Welcome(welcome))
            if welcome.next_step <= schedule.steps()
                && welcome.stored_steps <= schedule.steps_per_epoch() =>
        {
            Ok(welcome)
        }
        Some(other) => Err(unexpected(&other, "Welcome with a step of this run").into()),
        None => Err(TransportError::Closed.into()),
    }
}
