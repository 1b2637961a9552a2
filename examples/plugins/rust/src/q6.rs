//! Six bits a value.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::{Payload, PayloadFormat, QuantizeError, Quantizer, QuantizerConfig};
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Six bits a value: 63 even steps between the extremes of a group of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Q6Config {
    /// Values that share a step: a multiple of 4. Fewer are more precise and cost more bytes.
    #[schemars(range(min = 4, max = 4096))]
    pub group: u16,
}

impl Default for Q6Config {
    fn default() -> Self {
        Self { group: 64 }
    }
}

impl Plugin for Q6Config {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "acme.q6";
}

#[typetag::serde(name = "acme.q6")]
impl QuantizerConfig for Q6Config {
    fn check(&self, _hidden: usize) -> Vec<Diagnostic> {
        if usize::from(self.group) == self.accepted() {
            return Vec::new();
        }
        let message = format!("groups of {} values are not supported", self.group);
        vec![Diagnostic::new("group", message).expected("a multiple of 4 from 4 to 4096")]
    }

    /// A group that `check` refuses becomes one that it accepts.
    fn build(&self) -> Box<dyn Quantizer> {
        Box::new(Q6 { group: self.accepted() })
    }
}

impl Q6Config {
    fn accepted(&self) -> usize {
        usize::from(self.group).clamp(4, 4096) & !3
    }
}

/// Rows as groups, each of a step (f32, little-endian) and its codes: value = step * (code - 32), the codes
/// from 1 to 63, four of them in three bytes, the first in the lowest bits.
#[derive(Debug, Clone)]
pub struct Q6 {
    group: usize,
}

const STEP_BYTES: usize = 4;
const ZERO: f64 = 32.0;
/// Steps from zero to a group's extreme.
const STEPS: f64 = 31.0;

impl Q6 {
    /// Bytes of a group of `values`.
    fn group_bytes(values: usize) -> usize {
        STEP_BYTES + (values * 6).div_ceil(8)
    }

    fn encode_group(values: &[f32], bytes: &mut [u8]) {
        let (head, codes) = bytes.split_at_mut(STEP_BYTES);
        let step = step(values);
        head.copy_from_slice(&step.to_le_bytes());
        for (values, codes) in values.chunks(4).zip(codes.chunks_mut(3)) {
            let bits = values.iter().rev().fold(0, |bits, &value| bits << 6 | code(value, step));
            codes.copy_from_slice(&bits.to_le_bytes()[..codes.len()]);
        }
    }

    /// `None` if the step is none that encoding writes.
    fn decode_group(bytes: &[u8], values: &mut [f32]) -> Option<()> {
        let (step, codes) = bytes.split_first_chunk::<STEP_BYTES>()?;
        let step = f32::from_le_bytes(*step);
        if !step.is_finite() || step.is_sign_negative() {
            return None;
        }
        for (values, codes) in values.chunks_mut(4).zip(codes.chunks(3)) {
            let mut bits =
                codes.iter().rev().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
            for value in values {
                *value = decoded(bits & 63, step);
                bits >>= 6;
            }
        }
        Some(())
    }
}

/// The smallest step whose multiples reach all of `values`: 0 only if they are all 0.
fn step(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    match largest {
        0.0 => 0.0,
        // Rounded down, the quotient of the largest would lie beyond the last code.
        _ => ((f64::from(largest) / STEPS) as f32).next_up(),
    }
}

fn code(value: f32, step: f32) -> u32 {
    if step == 0.0 {
        return ZERO as u32;
    }
    ((f64::from(value) / f64::from(step)).round().clamp(-STEPS, STEPS) + ZERO) as u32
}

fn decoded(code: u32, step: f32) -> f32 {
    let value = (f64::from(code) - ZERO) * f64::from(step);
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

fn expect(what: &str, got: usize, expected: usize) -> Result<(), QuantizeError> {
    if got == expected {
        return Ok(());
    }
    Err(QuantizeError::Payload { problem: format!("{what}: expected {expected}, got {got}") })
}

impl Quantizer for Q6 {
    fn format(&self) -> PayloadFormat {
        PayloadFormat { name: *b"aq6\0", version: 1, flags: 0, block: self.group as u16 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        let (full, rest) = (hidden / self.group, hidden % self.group);
        full * Self::group_bytes(self.group) + if rest > 0 { Self::group_bytes(rest) } else { 0 }
    }

    /// Half a step, and what f32 cannot tell apart.
    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        let of_group = |values: &[f32]| {
            let half = step(values) / 2.0;
            let bound = |value: &f32| (half + value.abs() * f32::EPSILON).next_up();
            values.iter().map(bound).collect::<Vec<_>>()
        };
        row.chunks(self.group).flat_map(of_group).collect()
    }

    fn encode_rows(&self, cleared: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError> {
        let rows = cleared.rows();
        let (count, hidden) = rows.dim();
        let row_bytes = self.row_bytes(hidden);
        expect("bytes of the encoded rows", out.len(), count * row_bytes)?;
        let values = rows.to_slice().unwrap_or_default();
        expect("contiguous values", values.len(), count * hidden)?;
        if hidden == 0 {
            return Ok(());
        }
        for (values, bytes) in values.chunks(hidden).zip(out.chunks_mut(row_bytes)) {
            let groups = bytes.chunks_mut(Self::group_bytes(self.group));
            values.chunks(self.group).zip(groups).for_each(|(values, bytes)| {
                Self::encode_group(values, bytes);
            });
        }
        Ok(())
    }

    fn decode_rows(&self, payload: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError> {
        let Payload { rows, hidden, bytes, .. } = *payload;
        let row_bytes = self.row_bytes(hidden);
        expect("bytes of the payload", bytes.len(), rows * row_bytes)?;
        expect("decoded values", out.len(), rows * hidden)?;
        if hidden == 0 {
            return Ok(());
        }
        let pairs = bytes.chunks(row_bytes).zip(out.chunks_mut(hidden));
        for (row, (bytes, values)) in pairs.enumerate() {
            let mut groups =
                bytes.chunks(Self::group_bytes(self.group)).zip(values.chunks_mut(self.group));
            if !groups.all(|(bytes, values)| Self::decode_group(bytes, values).is_some()) {
                let problem =
                    format!("row {row}: a step is negative or not finite; is it damaged?");
                return Err(QuantizeError::Payload { problem });
            }
        }
        Ok(())
    }
}
