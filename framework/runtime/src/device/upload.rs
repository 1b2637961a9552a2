//! The device's way out: a window of steps goes forward, micro-batch by micro-batch, tap by tap.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use mobillm_core::backbone::Tokens;
use mobillm_core::privacy::{Purpose, release_supervision};
use mobillm_core::sample::SampleId;
use mobillm_core::transport::Lane;
use mobillm_task::schedule::Window;
use mobillm_wire::frame::{Frame, Open, Step, Supervise, encode_tap};
use ndarray::Array2;

use crate::device::session::Session;
use crate::device::taps::MicroBatch;
use crate::error::RunError;
use crate::link::ThreadLink;
use crate::progress::Watch;

impl Session<'_, '_> {
    /// Runs the rows of `window` forward and asks for each step as soon as its rows are sent.
    pub(super) fn send_window(&mut self, window: &Window) -> Result<(), RunError> {
        let schedule = &self.job.prepared.schedule;
        let epoch = schedule.epoch_of_step(window.steps.start);
        let mut steps = window.steps.clone().map(|step| (step, schedule.rows_of_step(step)));
        let mut next = steps.next();
        // The place of each row among all that were sent in this session.
        let mut sent = HashMap::new();
        for rows in &window.micro_batches {
            self.watch.check()?;
            self.take_what_has_come()?;
            sent.extend(rows.iter().copied().zip(self.samples..));
            self.send_micro_batch(rows, epoch)?;
            while let Some((step, rows)) = &next
                && let Some(samples) = rows.iter().map(|row| sent.get(row).copied()).collect()
            {
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
        self.samples += rows.len() as u32;
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
        own: &Array2<f32>,
        micro_batch: u32,
    ) -> Result<Bytes, RunError> {
        let tag = self.job.policy_tag;
        let truths = &self.job.prepared.train.truths;
        let policy = self.job.path.policy();
        let mut cleared = Vec::with_capacity(rows.len());
        for (at, (&row, &sample)) in rows.iter().zip(samples).enumerate() {
            let own = own.row(at).to_vec();
            cleared.push(release_supervision(policy, tag, sample, truths[row], &own)?);
        }
        Ok(Frame::Supervise(Supervise::new(micro_batch, &cleared)).encode())
    }

    fn send(&mut self, frame: Bytes, lane: Lane, epoch: u64) -> Result<(), RunError> {
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
        frame: Bytes,
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
