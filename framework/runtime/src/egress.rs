//! The egress manifest: every field that leaves the device, with its size.

use mobillm_core::privacy::SupervisionKind;
use mobillm_core::quantizer::{HEADER_BYTES, Quantizer};
use mobillm_core::sample::Objective;
use mobillm_wire::frame::{Frame, TAP_HEADER_BYTES};
use mobillm_wire::handshake::Hello;
use serde::Serialize;

use crate::device::GAVE_UP;

/// What a hello tells of a run, beside that it is one.
const HELLO: &str = "run id, fingerprints of pipeline and bundle, taps, width, pooling, objective, \
                     kind of supervision, optimizer, seed, numbers of samples, selected tokens and \
                     steps, progress";

/// What a field is sent once for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// A micro-batch.
    MicroBatch,
    /// A sample that goes forward.
    Sample,
    /// A selected token of such a sample.
    Row,
    /// A step of training.
    Step,
    /// A sample of a step.
    StepSample,
    /// A connection.
    Session,
    /// A device that gives up.
    Failure,
}

/// One field that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The frame that carries it.
    pub frame: &'static str,
    /// What it is.
    pub field: String,
    /// What it is sent once for.
    pub per: Per,
    /// Its size.
    pub bytes: u64,
}

/// How much of everything is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Micro-batches.
    pub micro_batches: u64,
    /// Samples that go forward: in every epoch again, unless the server keeps them.
    pub samples: u64,
    /// Selected tokens of these samples.
    pub rows: u64,
    /// Steps that the device asks for: all of them, or those of the first epoch.
    pub steps: u64,
}

/// Everything that leaves the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// Its fields, in the order of the wire.
    pub fields: Vec<Field>,
    /// What the policy guarantees, in its own words.
    pub guarantee: String,
}

impl Egress {
    /// What a pipeline sends whose device says `hello`, under a policy that guarantees `guarantee`,
    /// over a transport that adds `overhead` bytes to a frame.
    pub fn new(hello: &Hello, quantizer: &dyn Quantizer, guarantee: &str, overhead: usize) -> Self {
        let (kind, objective) = (hello.side_network.supervision, hello.side_network.objective);
        let supervision = 4 * kind.numbers(objective.outputs()) as u64;
        let (taps, hidden) = (hello.side_network.taps.len() as u64, hello.side_network.hidden);
        let overhead = overhead as u64;
        let hello = Frame::Hello(Box::new(hello.clone())).encode().len() as u64;
        let row = quantizer.row_bytes(hidden) as u64;
        let field =
            |frame, field: &str, per, bytes| Field { frame, field: field.into(), per, bytes };
        let mut fields = vec![
            field("Hello", HELLO, Per::Session, hello),
            field("Open", "micro-batch number and sample count", Per::MicroBatch, 9),
            field("Open", "sample id (keyed PRF of the row number)", Per::Sample, 8),
            field("Open", "number of selected tokens", Per::Sample, 4),
            field(
                "Tap",
                "micro-batch and tap number, payload header, of all taps",
                Per::MicroBatch,
                taps * (TAP_HEADER_BYTES + HEADER_BYTES) as u64,
            ),
            field(
                "Tap",
                &format!("activations, {}, of all taps", quantizer.format()),
                Per::Row,
                taps * row,
            ),
            field(
                "Supervise",
                "micro-batch number, sample count, kind and count of numbers",
                Per::MicroBatch,
                12,
            ),
            field("Supervise", supervised(kind, objective), Per::Sample, supervision),
            field("Step", "step number and sample count", Per::Step, 13),
            field("Step", "place of a sample in the session", Per::StepSample, 4),
        ];
        if overhead > 0 {
            fields.push(field(
                "(transport)",
                "frame lengths of Open, Tap and Supervise",
                Per::MicroBatch,
                overhead * (taps + 2),
            ));
            fields.push(field("(transport)", "frame length of Step", Per::Step, overhead));
            let field = field(
                "(transport)",
                "frame lengths of Hello and Finish",
                Per::Session,
                2 * overhead,
            );
            fields.push(field);
        }
        fields.push(field("Finish", "kind", Per::Session, 1));
        let failure = Frame::Failure(GAVE_UP.to_owned()).encode().len() as u64;
        fields.push(field("Failure", "that the device gave up", Per::Failure, failure + overhead));
        Self { fields, guarantee: guarantee.to_owned() }
    }

    /// Bytes of everything in one undisturbed session. Exact for selectors that send tokens 0, 1, 2, ...;
    /// others add 4 bytes a selected token.
    pub fn bytes(&self, counts: &Counts) -> u64 {
        let times = |per| match per {
            Per::MicroBatch => counts.micro_batches,
            Per::Sample | Per::StepSample => counts.samples,
            Per::Row => counts.rows,
            Per::Step => counts.steps,
            Per::Session => 1,
            Per::Failure => 0,
        };
        self.fields.iter().map(|field| field.bytes * times(field.per)).sum::<u64>()
    }

    /// Bytes of one sample with `rows` selected tokens, what it shares with others left out.
    pub fn bytes_per_sample(&self, rows: u64) -> u64 {
        let times = |per| match per {
            Per::Sample | Per::StepSample => 1,
            Per::Row => rows,
            Per::MicroBatch | Per::Step | Per::Session | Per::Failure => 0,
        };
        self.fields.iter().map(|field| field.bytes * times(field.per)).sum()
    }
}

/// What the server is told of a sample's truth, in the words of its task.
fn supervised(kind: SupervisionKind, objective: Objective) -> &'static str {
    match (kind, objective) {
        (SupervisionKind::Truth, Objective::Classification { .. }) => "label",
        (SupervisionKind::Truth, Objective::Regression) => "scaled target",
        (SupervisionKind::Difference, _) => "truth less own prediction, for each output",
        (SupervisionKind::TruthAndOwn, _) => "label, and own logits for each output",
        (_, _) => "supervision",
    }
}
