//! Rows of f32 to bytes and back.
//!
//! A payload is a header of 16 bytes and then the rows, each in the same number of bytes and each
//! readable on its own. So a sample's bytes never depend on its batch mates, the server can cut a
//! micro-batch into samples without decoding it, and the size of everything is known beforehand.

use std::borrow::Cow;

use thiserror::Error;

use crate::BoxError;
use crate::activations::ShapeError;
use crate::diagnostic::Diagnostic;
use crate::privacy::{Cleared, ClearedRows};

/// Bytes of a payload's header.
pub const HEADER_BYTES: usize = 16;

/// Why rows could not be encoded or decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// A value that the code cannot hold.
    #[error("row {row}, column {column}: {value} cannot be encoded; expected {expected}")]
    Value {
        /// The row within the payload.
        row: usize,
        /// The column.
        column: usize,
        /// The value.
        value: f32,
        /// What can be encoded.
        expected: Cow<'static, str>,
    },
    /// Bytes that are no payload, or not one of this quantizer.
    #[error("payload: {problem}")]
    Payload {
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The rows do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A quantizer that was loaded failed.
    #[error(transparent)]
    Plugin(BoxError),
}

/// What a payload's rows are encoded as: enough to refuse what another quantizer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadFormat {
    /// Four bytes of name, padded with zeros.
    pub name: [u8; 4],
    /// Version of that code's byte layout.
    pub version: u8,
    /// Options that change the byte layout.
    pub flags: u8,
    /// Values that share a scale; 0 where there are no scales.
    pub block: u16,
}

impl std::fmt::Display for PayloadFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name.escape_ascii().to_string();
        let name = name.trim_end_matches("\\x00");
        write!(f, "{name} v{} (block {}, flags {})", self.version, self.block, self.flags)
    }
}

/// Encoded rows of one tap: a view on a header and its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// How the rows are encoded.
    pub format: PayloadFormat,
    /// How many rows there are.
    pub rows: usize,
    /// Values of a row.
    pub hidden: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    /// The rows, `rows * row_bytes` bytes.
    pub bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Reads a header and checks that it is of `rows` rows of `hidden` values and that exactly these follow. What is
    /// decoded of a foreign payload is thus never more than its reader expects.
    ///
    /// # Errors
    /// If the header says anything else, or `bytes` is shorter or longer than that.
    pub fn parse(
        bytes: &'a [u8],
        quantizer: &dyn Quantizer,
        (rows, hidden): (usize, usize),
    ) -> Result<Self, QuantizeError> {
        let problem = |problem: String| QuantizeError::Payload { problem };
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            let got = bytes.len();
            return Err(problem(format!("expected a header of {HEADER_BYTES} bytes, got {got}")));
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
                as usize
        };
        let format = PayloadFormat {
            name: [header[0], header[1], header[2], header[3]],
            version: header[4],
            flags: header[5],
            block: u16::from_le_bytes([header[6], header[7]]),
        };
        let expected = quantizer.format();
        if format != expected {
            return Err(problem(format!("expected {expected}, got {format}")));
        }
        let got = (word(8), word(12));
        if got != (rows, hidden) {
            let expected = format!("expected {rows} rows of {hidden} values");
            return Err(problem(format!("{expected}, got {} of {}", got.0, got.1)));
        }
        let row_bytes = quantizer.row_bytes(hidden);
        match rows.checked_mul(row_bytes) {
            Some(length) if length == body.len() => {
                Ok(Self { format, rows, hidden, row_bytes, bytes: body })
            }
            _ => Err(problem(format!(
                "expected {rows} rows of {row_bytes} bytes after the header, got {} bytes",
                body.len()
            ))),
        }
    }

    /// The same payload with only `rows` of it.
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Payload<'a> {
        let bytes = &self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes];
        Payload { rows: rows.len(), bytes, ..*self }
    }
}

/// A code for rows of f32.
///
/// Rows that are not finite never come here: [`release`](crate::privacy::release) refuses them. What it promises
/// beyond its types are the laws of `mobillm_testkit::quantizer`.
pub trait Quantizer: Send + Sync {
    /// What the bytes are.
    fn format(&self) -> PayloadFormat;

    /// Bytes of an encoded row of `hidden` values.
    fn row_bytes(&self, hidden: usize) -> usize;

    /// For each value of `row`, the most that decoding may differ from it.
    fn error_bound(&self, row: &[f32]) -> Vec<f32>;

    /// Encodes `cleared` into `out`, which holds exactly the bytes of its rows.
    ///
    /// # Errors
    /// If a value is not finite or does not fit the code.
    fn encode_rows(&self, cleared: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError>;

    /// Decodes the rows of `payload` into `out`, `rows * hidden` values.
    ///
    /// # Errors
    /// If the bytes are not what [`encode_rows`](Self::encode_rows) writes.
    fn decode_rows(&self, payload: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError>;
}

/// Bytes of the payload of `rows` rows of `hidden` values, header included.
pub fn payload_bytes(quantizer: &dyn Quantizer, rows: usize, hidden: usize) -> usize {
    HEADER_BYTES + rows * quantizer.row_bytes(hidden)
}

/// Appends the payload of `cleared` to `out`.
///
/// # Errors
/// As [`Quantizer::encode_rows`]; `out` is then as it was.
pub fn encode(
    quantizer: &dyn Quantizer,
    cleared: &Cleared,
    out: &mut Vec<u8>,
) -> Result<(), QuantizeError> {
    let (rows, hidden) = cleared.rows().dim();
    let start = out.len();
    let format = quantizer.format();
    out.reserve(payload_bytes(quantizer, rows, hidden));
    out.extend_from_slice(&format.name);
    out.extend_from_slice(&[format.version, format.flags]);
    out.extend_from_slice(&format.block.to_le_bytes());
    out.extend_from_slice(&(rows as u32).to_le_bytes());
    out.extend_from_slice(&(hidden as u32).to_le_bytes());
    let body = out.len();
    out.resize(body + rows * quantizer.row_bytes(hidden), 0);
    quantizer.encode_rows(cleared.lend(), &mut out[body..]).inspect_err(|_| out.truncate(start))
}

/// Decodes `payload` to `rows * hidden` values appended to `out`.
///
/// # Errors
/// As [`Quantizer::decode_rows`]; `out` is then as it was.
pub fn decode(
    quantizer: &dyn Quantizer,
    payload: &Payload<'_>,
    out: &mut Vec<f32>,
) -> Result<(), QuantizeError> {
    let start = out.len();
    out.resize(start + payload.rows * payload.hidden, 0.0);
    quantizer.decode_rows(payload, &mut out[start..]).inspect_err(|_| out.truncate(start))
}

/// The config twin of [`Quantizer`].
#[typetag::serde(tag = "type")]
pub trait QuantizerConfig: std::fmt::Debug + Send + Sync {
    /// Everything that is wrong with this config for rows of `hidden` values. Pure.
    fn check(&self, hidden: usize) -> Vec<Diagnostic>;

    /// The quantizer.
    fn build(&self) -> Box<dyn Quantizer>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is a byte, however wide it is: nothing but its zeros is kept.
    struct Flat;

    impl Quantizer for Flat {
        fn format(&self) -> PayloadFormat {
            PayloadFormat { name: *b"flat", version: 1, flags: 0, block: 0 }
        }

        fn row_bytes(&self, _: usize) -> usize {
            1
        }

        fn error_bound(&self, row: &[f32]) -> Vec<f32> {
            row.to_vec()
        }

        fn encode_rows(&self, _: ClearedRows<'_>, _: &mut [u8]) -> Result<(), QuantizeError> {
            Ok(())
        }

        fn decode_rows(&self, _: &Payload<'_>, _: &mut [f32]) -> Result<(), QuantizeError> {
            Ok(())
        }
    }

    fn payload(rows: u32, hidden: u32) -> Vec<u8> {
        let counts = [rows.to_le_bytes(), hidden.to_le_bytes()].concat();
        [b"flat\x01\0\0\0", &*counts, &[0, 0]].concat()
    }

    #[test]
    fn a_payload_is_of_the_shape_that_its_reader_expects() {
        let bytes = payload(2, 3);
        let mut values = Vec::new();
        decode(&Flat, &Payload::parse(&bytes, &Flat, (2, 3)).unwrap(), &mut values).unwrap();
        assert_eq!(values.len(), 6);
        // What the header claims would fit its bytes, and 32 GiB of memory.
        for (rows, hidden) in [(2, u32::MAX), (3, 2), (u32::MAX, 3), (0, 3)] {
            let bytes = payload(rows, hidden);
            let error = Payload::parse(&bytes, &Flat, (2, 3)).unwrap_err();
            let expected = format!("payload: expected 2 rows of 3 values, got {rows} of {hidden}");
            assert_eq!(error.to_string(), expected);
        }
        assert!(Payload::parse(&bytes[..17], &Flat, (2, 3)).is_err());
    }
}
