//! The suite passes a sound quantizer and finds each way to break it.

use std::borrow::Cow;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::PayloadFormat;

use super::*;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// One scale for all rows.
    SharedScale,
    /// Leaves a byte of the scale as it was.
    UnwrittenByte,
    /// Leaves the last value as it was.
    UnwrittenValue,
    /// Truncates where it should round.
    Truncates,
    /// Its bound lacks a value.
    ShortBound,
    /// Overflows, and is off by more than it says, far from 1.
    LargeValues,
    /// Refuses small values.
    RefusesOrdinary,
    /// Refuses with a place that is not that of the value.
    WrongPlace,
    /// Refuses with something other than the value.
    WrongError,
    /// Decodes a row a little differently where its place in the payload is another.
    Position,
    /// Codes of each instance have their own offset.
    Keyed,
    /// Panics without rows.
    EmptyPanics,
    /// Its format differs from one instance to the next.
    UnstableFormat,
    /// Rows of equal length, and a panic where a row is wider.
    FixedWidth,
    /// Panics at codes it never writes.
    DamagePanics,
    /// Takes any scale.
    AnyScale,
    /// Keeps the scale of the last row where all threads find it.
    SharedScratch,
}

/// Rows of a scale (f32) and codes of 8 bits around 128.
struct Coarse {
    fault: Fault,
    key: u8,
    scratch: AtomicU32,
}

static INSTANCES: AtomicU32 = AtomicU32::new(0);

impl Coarse {
    fn with(fault: Fault) -> Box<dyn Quantizer> {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Box::new(Self { fault, key: (instance % 7) as u8, scratch: AtomicU32::new(0) })
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Far from 1 this code gives up: above 2^100 it may refuse.
    fn refuse(&self, row: usize, values: &[f32]) -> Result<(), QuantizeError> {
        let limit = if self.has(Fault::RefusesOrdinary) { 0.5 } else { 2f32.powi(100) };
        let Some(column) = values.iter().position(|value| value.abs() > limit) else {
            return Ok(());
        };
        let expected = Cow::from("a magnitude up to 2^100");
        let value = values[column];
        Err(match self.fault {
            Fault::WrongPlace => QuantizeError::Value { row: row + 1, column, value, expected },
            Fault::WrongError => QuantizeError::Payload { problem: expected.into_owned() },
            _ => QuantizeError::Value { row, column, value, expected },
        })
    }

    fn scale(&self, values: &[f32]) -> f32 {
        let scale = absmax(values);
        if !self.has(Fault::SharedScratch) {
            return scale;
        }
        self.scratch.store(scale.to_bits(), Ordering::SeqCst);
        sleep(Duration::from_micros(20));
        f32::from_bits(self.scratch.load(Ordering::SeqCst))
    }

    fn offset(&self) -> f64 {
        128.0 + if self.has(Fault::Keyed) { f64::from(self.key) } else { 0.0 }
    }
}

fn absmax(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

impl Quantizer for Coarse {
    fn format(&self) -> PayloadFormat {
        let flags = if self.has(Fault::UnstableFormat) { self.key } else { 0 };
        PayloadFormat { name: *b"test", version: 1, flags, block: 0 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        let is_fixed = self.has(Fault::FixedWidth) && hidden < 1 << 16;
        4 + if is_fixed { 1024 } else { hidden }
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        let bound = absmax(row) * 0.5001 / 100.0 + 1e-44;
        vec![bound; if self.has(Fault::ShortBound) { row.len() - 1 } else { row.len() }]
    }

    fn encode_rows(&self, cleared: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError> {
        let view = cleared.rows();
        let all = view.as_slice().unwrap();
        let hidden = view.ncols();
        assert!(!(self.has(Fault::EmptyPanics) && all.is_empty()), "no rows");
        for (index, out) in out.chunks_mut(self.row_bytes(hidden)).enumerate() {
            let row = &all[index * hidden..][..hidden];
            if !self.has(Fault::LargeValues) {
                self.refuse(index, row)?;
            }
            let scale = self.scale(if self.has(Fault::SharedScale) { all } else { row });
            let written = if self.has(Fault::UnwrittenByte) { 3 } else { 4 };
            out[..written].copy_from_slice(&scale.to_le_bytes()[..written]);
            out[4..].fill(128);
            for (code, &value) in out[4..].iter_mut().zip(row) {
                let number = match self.fault {
                    _ if scale == 0.0 => 0.0,
                    Fault::LargeValues => f64::from(value * 100.0 / scale),
                    _ => f64::from(value) * 100.0 / f64::from(scale),
                };
                let rounded =
                    if self.has(Fault::Truncates) { number.trunc() } else { number.round() };
                *code = (rounded + self.offset()) as u8;
            }
        }
        Ok(())
    }

    fn decode_rows(&self, payload: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError> {
        let hidden = payload.hidden;
        for (index, bytes) in payload.bytes.chunks(payload.row_bytes).enumerate() {
            let scale = f32::from_le_bytes(bytes[..4].try_into().unwrap());
            let sound = scale.is_finite() || self.has(Fault::AnyScale);
            let known = bytes[4..].iter().all(|code| (28..=228 + 7).contains(code));
            assert!(known || !self.has(Fault::DamagePanics), "an unknown code");
            if !sound || !known {
                return Err(QuantizeError::Payload { problem: format!("row {index}") });
            }
            let written = hidden - usize::from(self.has(Fault::UnwrittenValue));
            let place = if self.has(Fault::Position) { index as f64 * 1e-7 } else { 0.0 };
            let out = out[index * hidden..][..hidden].iter_mut();
            for (value, &code) in out.zip(&bytes[4..][..hidden]).take(written) {
                let number = (f64::from(code) - self.offset()) / 100.0 * (1.0 + place);
                *value = (number * f64::from(scale)).clamp(-3e38, 3e38) as f32;
            }
        }
        Ok(())
    }
}

/// What the suite says about a fault.
fn verdict(fault: Fault) -> String {
    let outcome = catch_unwind(|| conformance(&|| Coarse::with(fault)));
    let Err(panic) = outcome else { return "conforms".into() };
    let text = panic.downcast::<String>().unwrap();
    text.lines().next().unwrap().to_owned()
}

#[test]
fn a_sound_quantizer_conforms() {
    assert_eq!(verdict(Fault::Nothing), "conforms");
}

#[test]
fn each_fault_is_named() {
    let faults = [
        (Fault::RefusesOrdinary, "every row takes row bytes"),
        (Fault::UnstableFormat, "every row takes row bytes"),
        (Fault::SharedScale, "rows are encoded on their own"),
        (Fault::UnwrittenByte, "every byte and value is written"),
        (Fault::UnwrittenValue, "every byte and value is written"),
        (Fault::Truncates, "decoding stays within error bound"),
        (Fault::ShortBound, "decoding stays within error bound"),
        (Fault::Keyed, "decoding stays within error bound"),
        (Fault::LargeValues, "a refused value is named with its place"),
        (Fault::WrongPlace, "a refused value is named with its place"),
        (Fault::WrongError, "a refused value is named with its place"),
        (Fault::Position, "a slice of a payload decodes to its rows"),
        (Fault::EmptyPanics, "empty payloads are encoded and decoded"),
        (Fault::FixedWidth, "a damaged header is refused"),
        (Fault::DamagePanics, "damaged rows give an error or finite values"),
        (Fault::AnyScale, "damaged rows give an error or finite values"),
        (Fault::SharedScratch, "threads share an instance"),
    ];
    for (fault, law) in faults {
        assert_eq!(verdict(fault), format!("broken law: {law}"), "{fault:?}");
    }
}
