//! One frame to bytes and back. All numbers are little-endian.

use bytes::Bytes;
use mobillm_core::privacy::{Cleared, ClearedSupervision, Supervision};
use mobillm_core::quantizer::{self, QuantizeError, Quantizer};
use mobillm_core::sample::SampleId;

use crate::WireError;
use crate::handshake::{Hello, Refusal, Welcome};

mod reader;

use reader::Reader;

/// Bytes before the payload in a tap frame: kind, micro-batch, tap.
pub const TAP_HEADER_BYTES: usize = 1 + 4 + 2;

/// Bytes of an Ack frame.
pub const ACK_BYTES: usize = 1 + 8 + 4 + 4 + 8 + 8;

/// What crosses the link.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Device: who it is and what pipeline it runs.
    Hello(Box<Hello>),
    /// Server: go on, from this step.
    Welcome(Welcome),
    /// Server: no, and why.
    Refuse(Refusal),
    /// Device: a micro-batch begins.
    Open(Open),
    /// Device: one tapped layer of an open micro-batch.
    Tap(Tap),
    /// Device: what to train on, for each sample of an open micro-batch, which it completes.
    Supervise(Supervise),
    /// Device: these samples make the next step.
    Step(Step),
    /// Server: a step was trained and its samples are not needed again.
    Ack(Ack),
    /// Server: the adapter at the end of an epoch.
    Adapter(Adapter),
    /// Device: it has all that it wants.
    Finish,
    /// Either end: it gives up, and why.
    Failure(String),
    /// Server: samples are in its store.
    Stored(Stored),
}

/// A micro-batch begins: the names of its samples and the tokens that were selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its number, unique in a session.
    pub micro_batch: u32,
    /// For each sample its name and the positions of its selected tokens.
    pub samples: Vec<(SampleId, Vec<u32>)>,
}

/// One tapped layer of an open micro-batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The micro-batch.
    pub micro_batch: u32,
    /// Index among the tapped layers.
    pub tap: u16,
    payload: Bytes,
}

impl Tap {
    /// What the quantizer wrote for all rows of the micro-batch. Only [`encode_tap`] makes one, of
    /// what a policy has cleared.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

/// What to train on, in the order of the micro-batch's samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Supervise {
    /// The micro-batch.
    pub micro_batch: u32,
    supervision: Vec<Supervision>,
}

impl Supervise {
    /// A frame of what a policy has cleared, one for each sample and all of one kind and width.
    pub fn new(micro_batch: u32, cleared: &[ClearedSupervision]) -> Self {
        let supervision = cleared.iter().map(|cleared| cleared.supervision().clone()).collect();
        Self { micro_batch, supervision }
    }

    /// One for each sample.
    pub fn into_supervision(self) -> Vec<Supervision> {
        self.supervision
    }
}

/// These samples make the next step: train on them now, or as soon as the steps before are trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The step, counted from 0 over all epochs.
    pub step: u64,
    /// Its samples, all complete: the place of each among all that were opened in the session.
    pub samples: Vec<u32>,
}

/// A step was trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ack {
    /// The step.
    pub step: u64,
    /// How many samples it had.
    pub samples: u32,
    /// Mean loss over them.
    pub loss: f32,
    /// The learning rate that was used.
    pub learning_rate: f64,
    /// Server time spent on it.
    pub seconds: f64,
}

/// The samples of the first epoch's steps before `steps` are in the server's store: they need not be
/// sent again while the server keeps what its config says that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// How many steps.
    pub steps: u64,
}

/// The adapter at the end of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The epoch, counted from 0.
    pub epoch: u32,
    /// The portable adapter file.
    pub bytes: Bytes,
}

mod kind {
    pub const HELLO: u8 = 1;
    pub const WELCOME: u8 = 2;
    pub const REFUSE: u8 = 3;
    pub const OPEN: u8 = 4;
    pub const TAP: u8 = 5;
    pub const SUPERVISE: u8 = 6;
    pub const STEP: u8 = 7;
    pub const ACK: u8 = 8;
    pub const ADAPTER: u8 = 9;
    pub const FINISH: u8 = 10;
    pub const FAILURE: u8 = 11;
    pub const STORED: u8 = 12;
}

/// Encodes one cleared tap straight into a frame, without a copy of the payload.
///
/// # Errors
/// As [`quantizer::encode`].
pub fn encode_tap(
    micro_batch: u32,
    tap: u16,
    quantizer: &dyn Quantizer,
    cleared: &Cleared,
) -> Result<Bytes, QuantizeError> {
    let (rows, hidden) = cleared.rows().dim();
    let payload = quantizer::payload_bytes(quantizer, rows, hidden);
    let mut out = Vec::with_capacity(TAP_HEADER_BYTES + payload);
    out.push(kind::TAP);
    out.extend_from_slice(&micro_batch.to_le_bytes());
    out.extend_from_slice(&tap.to_le_bytes());
    quantizer::encode(quantizer, cleared, &mut out)?;
    Ok(out.into())
}

impl Frame {
    /// The frame's name, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Welcome(_) => "Welcome",
            Self::Refuse(_) => "Refuse",
            Self::Open(_) => "Open",
            Self::Tap(_) => "Tap",
            Self::Supervise(_) => "Supervise",
            Self::Step(_) => "Step",
            Self::Ack(_) => "Ack",
            Self::Adapter(_) => "Adapter",
            Self::Finish => "Finish",
            Self::Failure(_) => "Failure",
            Self::Stored(_) => "Stored",
        }
    }

    /// The frame as bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => write_json(&mut out, kind::HELLO, hello),
            Self::Welcome(welcome) => write_json(&mut out, kind::WELCOME, welcome),
            Self::Refuse(refusal) => write_json(&mut out, kind::REFUSE, refusal),
            Self::Open(open) => write_open(&mut out, open),
            Self::Tap(tap) => {
                out.push(kind::TAP);
                out.extend_from_slice(&tap.micro_batch.to_le_bytes());
                out.extend_from_slice(&tap.tap.to_le_bytes());
                out.extend_from_slice(&tap.payload);
            }
            Self::Supervise(supervise) => write_supervise(&mut out, supervise),
            Self::Step(step) => {
                out.push(kind::STEP);
                out.extend_from_slice(&step.step.to_le_bytes());
                out.extend_from_slice(&(step.samples.len() as u32).to_le_bytes());
                step.samples.iter().for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
            }
            Self::Ack(ack) => {
                out.push(kind::ACK);
                out.extend_from_slice(&ack.step.to_le_bytes());
                out.extend_from_slice(&ack.samples.to_le_bytes());
                out.extend_from_slice(&ack.loss.to_le_bytes());
                out.extend_from_slice(&ack.learning_rate.to_le_bytes());
                out.extend_from_slice(&ack.seconds.to_le_bytes());
            }
            Self::Adapter(adapter) => {
                out.push(kind::ADAPTER);
                out.extend_from_slice(&adapter.epoch.to_le_bytes());
                out.extend_from_slice(&adapter.bytes);
            }
            Self::Finish => out.push(kind::FINISH),
            Self::Failure(message) => {
                out.push(kind::FAILURE);
                out.extend_from_slice(message.as_bytes());
            }
            Self::Stored(stored) => {
                out.push(kind::STORED);
                out.extend_from_slice(&stored.steps.to_le_bytes());
            }
        }
        out.into()
    }

    /// Reads a frame. Payloads and adapters are views into `bytes`, not copies.
    ///
    /// # Errors
    /// If the bytes are no frame of this version.
    pub fn parse(bytes: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("kind")?;
        let frame = match kind {
            kind::HELLO => Self::Hello(Box::new(reader.versioned_json("Hello")?)),
            kind::WELCOME => Self::Welcome(reader.versioned_json("Welcome")?),
            kind::REFUSE => Self::Refuse(reader.json("Refuse")?),
            kind::OPEN => Self::Open(read_open(&mut reader)?),
            kind::TAP => Self::Tap(Tap {
                micro_batch: reader.u32("micro-batch")?,
                tap: reader.u16("tap")?,
                payload: reader.rest(),
            }),
            kind::SUPERVISE => Self::Supervise(read_supervise(&mut reader)?),
            kind::STEP => Self::Step(Step {
                step: reader.u64("step")?,
                samples: {
                    let count = reader.count("samples", 4)?;
                    (0..count).map(|_| reader.u32("sample")).collect::<Result<_, _>>()?
                },
            }),
            kind::ACK => Self::Ack(Ack {
                step: reader.u64("step")?,
                samples: reader.u32("samples")?,
                loss: f32::from_bits(reader.u32("loss")?),
                learning_rate: f64::from_bits(reader.u64("learning rate")?),
                seconds: f64::from_bits(reader.u64("seconds")?),
            }),
            kind::ADAPTER => {
                Self::Adapter(Adapter { epoch: reader.u32("epoch")?, bytes: reader.rest() })
            }
            kind::FINISH => Self::Finish,
            kind::FAILURE => Self::Failure(String::from_utf8_lossy(&reader.rest()).into_owned()),
            kind::STORED => Self::Stored(Stored { steps: reader.u64("steps")? }),
            other => return Err(frame_error(format!("unknown kind {other}; expected 1 to 12"))),
        };
        match reader.left() {
            0 => Ok(frame),
            left => Err(frame_error(format!("{left} bytes too many in a {} frame", frame.name()))),
        }
    }
}

pub(crate) fn frame_error(problem: String) -> WireError {
    WireError::Frame { problem }
}

fn write_json(out: &mut Vec<u8>, kind: u8, value: &impl serde::Serialize) {
    out.push(kind);
    #[expect(clippy::expect_used, reason = "plain structs with string keys, written to memory")]
    serde_json::to_writer(out, value).expect("control frames always serialize");
}

/// Positions 0, 1, 2, ... are written as a count alone: that is what the selector `all` sends.
fn write_open(out: &mut Vec<u8>, open: &Open) {
    out.push(kind::OPEN);
    out.extend_from_slice(&open.micro_batch.to_le_bytes());
    out.extend_from_slice(&(open.samples.len() as u32).to_le_bytes());
    for (id, positions) in &open.samples {
        let counted = positions.iter().enumerate().all(|(at, &position)| at == position as usize);
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&((positions.len() as u32) << 1 | u32::from(!counted)).to_le_bytes());
        if !counted {
            positions.iter().for_each(|position| out.extend_from_slice(&position.to_le_bytes()));
        }
    }
}

/// Rows that a micro-batch may have: more than the largest one of a config with the longest samples,
/// and few enough to allocate their positions, which need not be in the frame.
const MAX_ROWS: usize = 1 << 23;

fn read_open(reader: &mut Reader) -> Result<Open, WireError> {
    let micro_batch = reader.u32("micro-batch")?;
    let count = reader.count("samples", 12)?;
    let (mut samples, mut total) = (Vec::with_capacity(count), 0);
    for _ in 0..count {
        let id = SampleId(reader.u64("id")?);
        let word = reader.u32("rows")?;
        let rows = (word >> 1) as usize;
        total += rows;
        if total > MAX_ROWS {
            return Err(frame_error(format!("a micro-batch of more than {MAX_ROWS} rows")));
        }
        let positions = if word & 1 == 0 {
            (0..rows as u32).collect()
        } else {
            reader.check("positions", rows, 4)?;
            (0..rows).map(|_| reader.u32("position")).collect::<Result<_, _>>()?
        };
        samples.push((id, positions));
    }
    Ok(Open { micro_batch, samples })
}

/// All samples have supervision of one kind and width: that stands once.
fn write_supervise(out: &mut Vec<u8>, supervise: &Supervise) {
    let mut numbers = Vec::new();
    supervise.supervision.iter().for_each(|one| one.write(&mut numbers));
    let samples = supervise.supervision.len();
    let each = numbers.len() / samples.max(1) / 4;
    out.push(kind::SUPERVISE);
    out.extend_from_slice(&supervise.micro_batch.to_le_bytes());
    out.extend_from_slice(&(samples as u32).to_le_bytes());
    out.push(supervise.supervision.first().map_or(0, Supervision::code));
    out.extend_from_slice(&(each as u16).to_le_bytes());
    out.append(&mut numbers);
}

fn read_supervise(reader: &mut Reader) -> Result<Supervise, WireError> {
    let micro_batch = reader.u32("micro-batch")?;
    let samples = reader.u32("samples")? as usize;
    let (code, numbers) = (reader.u8("supervision")?, usize::from(reader.u16("numbers")?));
    let bytes = reader.rest();
    if samples.checked_mul(4 * numbers) != Some(bytes.len()) {
        return Err(frame_error(format!(
            "{samples} samples of {numbers} numbers do not make {} bytes",
            bytes.len()
        )));
    }
    let read = |bytes: &[u8]| {
        let unknown = || format!("no supervision has code {code} and {numbers} numbers");
        Supervision::read(code, bytes).ok_or_else(|| frame_error(unknown()))
    };
    let supervision = bytes.chunks(4 * numbers.max(1)).map(read).collect::<Result<Vec<_>, _>>()?;
    if supervision.len() != samples {
        return Err(frame_error(format!("{samples} samples without supervision")));
    }
    Ok(Supervise { micro_batch, supervision })
}

#[cfg(test)]
mod tests;
