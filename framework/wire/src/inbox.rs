//! The server's half of a session: frames in, complete samples and steps out.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mobillm_core::quantizer::{Payload, Quantizer};
use mobillm_core::sample::{EncodedSample, SampleId};

use crate::WireError;
use crate::frame::{Frame, Open, Step, Supervise, Tap};

/// What a frame led to.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Nothing to do yet.
    Waiting,
    /// These samples make this step, in this order.
    Step {
        /// The step.
        step: u64,
        /// Its samples.
        samples: Vec<EncodedSample>,
    },
    /// The device has all that it wants.
    Finished,
}

struct OpenBatch {
    /// The place of its first sample among all that were opened.
    first: u32,
    samples: Vec<(SampleId, Vec<u32>)>,
    /// For each tap, the payload's rows.
    taps: Vec<Option<Bytes>>,
}

/// How much may be under way: all that a device has said that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Samples.
    pub samples: u64,
    /// Selected tokens of all of them.
    pub rows: u64,
}

/// Assembles samples from frames and refuses whatever comes out of order.
pub struct Inbox {
    quantizer: Arc<dyn Quantizer>,
    taps: usize,
    hidden: usize,
    next_step: u64,
    /// What a device may have open or complete at a time.
    room: Room,
    /// Samples that were opened so far.
    opened: u32,
    open: HashMap<u32, OpenBatch>,
    /// Samples that no step has named yet, by their place among all that were opened.
    complete: HashMap<u32, EncodedSample>,
    finished: bool,
}

impl Inbox {
    /// An inbox for `taps` tapped layers of `hidden` values, whose next step is `next_step`: the first
    /// one whose samples the server still needs. What does not fit into `room` is refused.
    pub fn new(
        quantizer: Arc<dyn Quantizer>,
        taps: usize,
        hidden: usize,
        next_step: u64,
        room: Room,
    ) -> Self {
        Self {
            quantizer,
            taps,
            hidden,
            next_step,
            room,
            opened: 0,
            open: HashMap::new(),
            complete: HashMap::new(),
            finished: false,
        }
    }

    /// The step that is expected next.
    pub fn next_step(&self) -> u64 {
        self.next_step
    }

    /// Takes one frame.
    ///
    /// # Errors
    /// If the frame is not one that may come now; the session is then over.
    pub fn receive(&mut self, frame: Frame) -> Result<Event, WireError> {
        if self.finished {
            return Err(order(&frame, "the device had finished".into()));
        }
        match frame {
            Frame::Open(open) => self.open(open).map(|()| Event::Waiting),
            Frame::Tap(tap) => self.tap(tap).map(|()| Event::Waiting),
            Frame::Supervise(supervise) => self.supervise(supervise).map(|()| Event::Waiting),
            Frame::Step(step) => self.step(step),
            Frame::Finish => {
                self.finished = true;
                Ok(Event::Finished)
            }
            Frame::Failure(message) => Err(WireError::Other { end: "device", message }),
            other => Err(order(&other, "a device sends Open, Tap, Supervise, Step, Finish".into())),
        }
    }

    fn open(&mut self, open: Open) -> Result<(), WireError> {
        let refuse = |problem: String| Err(WireError::Order { frame: "Open", problem });
        if self.open.contains_key(&open.micro_batch) {
            return refuse(format!("micro-batch {} is open already", open.micro_batch));
        }
        let first = self.opened;
        let samples = u32::try_from(open.samples.len()).ok();
        let Some(opened) = samples.and_then(|samples| first.checked_add(samples)) else {
            return refuse(format!("a session has at most {} samples", u32::MAX));
        };
        let rows = open.samples.iter().map(|(_, positions)| positions.len() as u64).sum();
        let (some, more) = (open.samples.len() as u64, self.room);
        let (Some(samples), Some(rows)) =
            (more.samples.checked_sub(some), more.rows.checked_sub(rows))
        else {
            return refuse(format!(
                "more samples or selected tokens than the device said that it has: room is left for \
                 {} and {}",
                more.samples, more.rows
            ));
        };
        self.room = Room { samples, rows };
        self.opened = opened;
        let taps = vec![None; self.taps];
        self.open.insert(open.micro_batch, OpenBatch { first, samples: open.samples, taps });
        Ok(())
    }

    fn tap(&mut self, tap: Tap) -> Result<(), WireError> {
        let (micro_batch, index) = (tap.micro_batch, usize::from(tap.tap));
        let Some(open) = self.open.get_mut(&micro_batch) else {
            return Err(not_open("Tap", micro_batch));
        };
        let expected = self.taps;
        let Some(slot) = open.taps.get_mut(index).filter(|slot| slot.is_none()) else {
            let problem = format!("expected each of {expected} taps once, got tap {index}");
            return Err(WireError::Order { frame: "Tap", problem });
        };
        let rows: usize = open.samples.iter().map(|(_, positions)| positions.len()).sum();
        let payload = Payload::parse(tap.payload(), &*self.quantizer, (rows, self.hidden))
            .map_err(|source| WireError::Payload { micro_batch, tap: index, source })?;
        *slot = Some(tap.payload().slice_ref(payload.bytes));
        Ok(())
    }

    fn supervise(&mut self, supervise: Supervise) -> Result<(), WireError> {
        let micro_batch = supervise.micro_batch;
        let open =
            self.open.remove(&micro_batch).ok_or_else(|| not_open("Supervise", micro_batch))?;
        let refuse = |problem: String| Err(WireError::Order { frame: "Supervise", problem });
        let supervision = supervise.into_supervision();
        let (expected, got) = (open.samples.len(), supervision.len());
        if expected != got {
            return refuse(format!("micro-batch {micro_batch} has {expected} samples, got {got}"));
        }
        let Some(taps) = open.taps.into_iter().collect::<Option<Vec<Bytes>>>() else {
            return refuse(format!("micro-batch {micro_batch} has not had all {} taps", self.taps));
        };
        let row_bytes = self.quantizer.row_bytes(self.hidden);
        let mut start = 0;
        let samples = open.samples.into_iter().zip(supervision);
        for (place, ((id, positions), supervision)) in (open.first..).zip(samples) {
            let end = start + positions.len() * row_bytes;
            let taps = taps.iter().map(|tap| tap.slice(start..end)).collect();
            start = end;
            self.complete.insert(place, EncodedSample { id, positions, taps, supervision });
        }
        Ok(())
    }

    /// Samples of steps before a resume's first are let go: a device sends whole windows.
    fn step(&mut self, step: Step) -> Result<Event, WireError> {
        let refuse = |problem: String| Err(WireError::Order { frame: "Step", problem });
        if step.step > self.next_step {
            return refuse(format!("expected step {}, got {}", self.next_step, step.step));
        }
        let mut samples = Vec::with_capacity(step.samples.len());
        for place in &step.samples {
            match self.complete.remove(place) {
                Some(sample) => {
                    self.room.samples += 1;
                    self.room.rows += sample.positions.len() as u64;
                    samples.push(sample);
                }
                None => return refuse(format!("step {}: sample {place} is not here", step.step)),
            }
        }
        if step.step < self.next_step {
            return Ok(Event::Waiting);
        }
        self.next_step += 1;
        Ok(Event::Step { step: step.step, samples })
    }
}

fn order(frame: &Frame, problem: String) -> WireError {
    WireError::Order { frame: frame.name(), problem }
}

fn not_open(frame: &'static str, micro_batch: u32) -> WireError {
    WireError::Order { frame, problem: format!("micro-batch {micro_batch} is not open") }
}
