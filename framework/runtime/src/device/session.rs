//! One session of a device: from its hello to the last epoch's evaluation.
//!
//! The device's forward passes and the server's steps overlap: a window of steps goes out while the
//! server still trains on the ones before, at most `ahead` steps behind.

use std::sync::Arc;
use std::time::Instant;

use mobillm_core::backbone::{OwnPrediction, Tokens};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::{Purpose, release_supervision};
use mobillm_core::quantizer::Quantizer;
use mobillm_core::sample::{RunKey, SampleId};
use mobillm_core::side_network::{SideNetworkConfig, SideNetworkContext, StepReport};
use mobillm_core::transport::{Lane, TransportError};
use mobillm_task::schedule::Window;
use mobillm_wire::frame::{Ack, Adapter, Frame, Open, Step, Supervise, encode_tap};
use mobillm_wire::handshake::Hello;

use crate::device::held_out::{Evaluation, HeldOut, prior};
use crate::device::meter::Meter;
use crate::device::prepare::Prepared;
use crate::device::taps::{MicroBatch, TapPath};
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
    /// Backbone, selector and policy.
    pub path: TapPath,
    /// The policy's tag.
    pub policy_tag: &'static str,
    /// Encodes what leaves.
    pub quantizer: Arc<dyn Quantizer>,
    /// Loads the adapters that the server sends back.
    pub predictor: &'a dyn SideNetworkConfig,
    /// Most rows that go forward together.
    pub micro_batch: usize,
    /// Steps that may be on their way to the server when the next window begins.
    pub ahead: u64,
    /// When the session began, reading the data included.
    pub began: Instant,
    /// Whether the device has its process to itself, so that its memory can be told.
    pub own_process: bool,
}

/// What the server hears when a device fails. The error itself may hold paths and activations: it
/// stays on the device.
pub const GAVE_UP: &str = "its own output says why";

/// Trains until the last epoch is evaluated. The state in `folder` says how far it came, whatever
/// happens.
///
/// # Errors
/// If a stage, the link or the server fails, or the run is to stop; the run can be gone on with.
pub fn train(
    job: DeviceJob<'_>,
    evaluation: Evaluation,
    folder: &mut RunFolder,
    link: ThreadLink,
    watch: &Watch<'_>,
) -> Result<(), RunError> {
    let mut meter = Meter::new(link.traffic().clone(), job.began, job.own_process);
    let session = Session::begin(job, evaluation, folder, &link, watch, &mut meter);
    let result = session.and_then(|mut session| {
        let result = session.run();
        session.meter.book_epoch(&mut session.folder.state);
        and_tidied(result, session.ledger.flush().and(session.save()))
    });
    match &result {
        Ok(()) | Err(RunError::Stopped) => link.close(),
        Err(_) => link.fail(GAVE_UP),
    }
    // The last frame's bytes are counted only now.
    meter.book(&mut folder.state);
    and_tidied(result, folder.save())
}

struct Session<'a> {
    job: DeviceJob<'a>,
    folder: &'a mut RunFolder,
    link: &'a ThreadLink,
    watch: &'a Watch<'a>,
    ledger: Ledger,
    held_out: HeldOut,
    key: RunKey,
    /// Steps that the server had trained when the session began.
    first_step: u64,
    /// Steps that the server has trained.
    trained: u64,
    /// Micro-batches sent.
    micro_batches: u64,
    meter: &'a mut Meter,
}

impl<'a> Session<'a> {
    /// Shakes hands, then runs the held-out rows forward.
    fn begin(
        mut job: DeviceJob<'a>,
        evaluation: Evaluation,
        folder: &'a mut RunFolder,
        link: &'a ThreadLink,
        watch: &'a Watch<'a>,
        meter: &'a mut Meter,
    ) -> Result<Self, RunError> {
        let mut ledger = Ledger::open(folder.path(), job.prepared.schedule.steps_per_epoch())?;
        let first_step = shake_hands(&job, folder, &ledger, link, watch)?;
        ledger.take_back(first_step)?;
        let began = Instant::now();
        let key = folder.state.key().clone();
        let (train, rows) = (&job.prepared.train, &job.prepared.held_out);
        let first = train.tokens.len() as u64;
        let names: Vec<SampleId> =
            (first..first + rows.tokens.len() as u64).map(|row| key.sample_id(row)).collect();
        let held_out =
            HeldOut::forward(&mut job.path, evaluation, rows, &names, job.micro_batch, watch)?;
        let before = held_out.evaluate_untrained(&prior(&job.context.objective, &train.truths))?;
        folder.state.before = Some(before.main().1);
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
            first_step,
            trained: first_step,
            micro_batches: 0,
            meter,
        })
    }

    fn run(&mut self) -> Result<(), RunError> {
        let schedule = &self.job.prepared.schedule;
        self.watch.begin(Phase::Train, schedule.steps(), self.first_step);
        // What was missed comes first: until it is here, the server does not read.
        let missed = self.first_step / schedule.steps_per_epoch();
        while self.ledger.steps() < self.first_step
            || (self.folder.state.epochs.len() as u64) < missed
        {
            self.wait()?;
        }
        if self.first_step < schedule.steps() {
            for window in schedule.window_of_step(self.first_step)..schedule.windows() {
                let window = schedule.window(window);
                // A whole window is on its way before its first step can be trained, so waiting for
                // its first step alone cannot wait for ever.
                while window.steps.start >= self.trained + self.job.ahead {
                    self.wait()?;
                }
                self.send_window(&window)?;
            }
        }
        let epochs = schedule.steps() / schedule.steps_per_epoch();
        while (self.folder.state.epochs.len() as u64) < epochs {
            self.wait()?;
        }
        self.watch.end(Phase::Train);
        self.link.send(&self.watch.stop, Frame::Finish.encode(), Lane::Control)?;
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
            other => Err(unexpected(&other, "Ack or Adapter").into()),
        }
    }

    fn note_step(&mut self, ack: &Ack) -> Result<(), RunError> {
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

    /// Runs the rows of `window` forward and asks for each step as soon as its rows are sent.
    fn send_window(&mut self, window: &Window) -> Result<(), RunError> {
        let schedule = &self.job.prepared.schedule;
        let epoch = schedule.epoch_of_step(window.steps.start);
        let mut steps = window.steps.clone().map(|step| (step, schedule.rows_of_step(step)));
        let mut next = steps.next();
        let mut sent = vec![false; self.job.prepared.train.tokens.len()];
        for rows in &window.micro_batches {
            self.watch.check()?;
            while let Some(frame) = self.link.try_receive()? {
                self.take(frame)?;
            }
            self.send_micro_batch(rows, epoch)?;
            rows.iter().for_each(|&row| sent[row] = true);
            while let Some((step, rows)) = &next
                && rows.iter().all(|&row| sent[row])
            {
                let samples = rows.iter().map(|&row| self.key.sample_id(row as u64)).collect();
                let frame = Frame::Step(Step { step: *step, samples }).encode();
                self.send(frame, Lane::Control, epoch)?;
                next = steps.next();
            }
        }
        Ok(())
    }

    fn send_micro_batch(&mut self, rows: &[usize], epoch: u64) -> Result<(), RunError> {
        let began = Instant::now();
        let train = &self.job.prepared.train;
        let tokens: Vec<&Tokens> = rows.iter().map(|&row| &train.tokens[row]).collect();
        let samples: Vec<SampleId> =
            rows.iter().map(|&row| self.key.sample_id(row as u64)).collect();
        let micro_batch = self.micro_batches;
        self.micro_batches += 1;
        let outgoing = Outgoing { link: self.link, watch: self.watch };
        let (mut bytes, mut waited) = (0, 0.0);
        let quantizer = &*self.job.quantizer;
        let batch = MicroBatch { tokens: &tokens, samples: &samples, purpose: Purpose::Train };
        let own = self.job.path.forward(&batch, &mut |tap, cleared| {
            if tap == 0 {
                let positions = |at| cleared.layout().positions(at).to_vec();
                let samples =
                    samples.iter().enumerate().map(|(at, &id)| (id, positions(at))).collect();
                let open = Frame::Open(Open { micro_batch, samples }).encode();
                outgoing.send(open, Lane::Control, &mut bytes, &mut waited)?;
            }
            let frame = encode_tap(micro_batch, tap as u16, quantizer, cleared)?;
            outgoing.send(frame, Lane::Bulk, &mut bytes, &mut waited)
        })?;
        let supervision = self.supervise(rows, &samples, &own, micro_batch)?;
        outgoing.send(supervision, Lane::Control, &mut bytes, &mut waited)?;
        let seconds = began.elapsed().as_secs_f64() - waited;
        let state = &mut self.folder.state;
        state.device.forward_seconds += seconds;
        state.device.samples_forwarded += rows.len() as u64;
        let spent = state.spent(epoch);
        spent.device_seconds += seconds;
        spent.bytes_up += bytes;
        Ok(())
    }

    /// What the policy tells the server to train on.
    fn supervise(
        &mut self,
        rows: &[usize],
        samples: &[SampleId],
        own: &OwnPrediction,
        micro_batch: u64,
    ) -> Result<bytes::Bytes, RunError> {
        let tag = self.job.policy_tag;
        let truths = &self.job.prepared.train.truths;
        let policy = self.job.path.policy();
        let mut cleared = Vec::with_capacity(rows.len());
        for (at, (&row, &sample)) in rows.iter().zip(samples).enumerate() {
            let own = own.as_ref().map(|own| own.row(at).to_vec());
            let truth = truths[row];
            cleared.push(release_supervision(policy, tag, sample, truth, own.as_deref())?);
        }
        Ok(Frame::Supervise(Supervise::new(micro_batch, &cleared)).encode())
    }

    fn send(&mut self, frame: bytes::Bytes, lane: Lane, epoch: u64) -> Result<(), RunError> {
        let bytes = self.link.send(&self.watch.stop, frame, lane)?;
        self.folder.state.spent(epoch).bytes_up += bytes;
        Ok(())
    }
}

/// Sends frames and counts bytes and the time that the link made the device wait.
struct Outgoing<'a> {
    link: &'a ThreadLink,
    watch: &'a Watch<'a>,
}

impl Outgoing<'_> {
    fn send(
        &self,
        frame: bytes::Bytes,
        lane: Lane,
        bytes: &mut u64,
        waited: &mut f64,
    ) -> Result<(), RunError> {
        let began = Instant::now();
        *bytes += self.link.send(&self.watch.stop, frame, lane)?;
        *waited += began.elapsed().as_secs_f64();
        Ok(())
    }
}

/// Returns the first step that the server has not trained.
fn shake_hands(
    job: &DeviceJob<'_>,
    folder: &RunFolder,
    ledger: &Ledger,
    link: &ThreadLink,
    watch: &Watch<'_>,
) -> Result<u64, RunError> {
    let schedule = &job.prepared.schedule;
    let (run, context) = (folder.state.run_id(), job.context.clone());
    let hello = Hello {
        steps_received: ledger.steps(),
        epochs_received: folder.state.epochs.len() as u32,
        ..Hello::new(run, job.pipeline, context, schedule.steps_per_epoch())
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
        Some(Frame::Welcome(welcome)) if welcome.next_step <= schedule.steps() => {
            Ok(welcome.next_step)
        }
        Some(other) => Err(unexpected(&other, "Welcome with a step of this run").into()),
        None => Err(TransportError::Closed.into()),
    }
}
