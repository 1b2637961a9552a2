//! Laws of the quantizer slot.
//!
//! ```
//! use mobillm_core::quantizer::QuantizerConfig;
//! use mobillm_quantizers::Fp16Config;
//!
//! mobillm_testkit::quantizer::conformance(&|| Fp16Config::default().build());
//! ```

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, Cleared, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release,
};
use mobillm_core::quantizer::{
    HEADER_BYTES, Payload, QuantizeError, Quantizer, decode, encode, payload_bytes,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};

/// Makes the quantizer under test; called often, and all it makes must be interchangeable.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Quantizer>;

type Verdict = Result<(), TestCaseError>;

/// Panics with the law that the quantizers of `make` break, and with a small input that shows it.
///
/// That non-finite values are an error is no law here: [`release`] refuses them, so that no
/// [`Cleared`] has any. A quantizer may refuse finite values that its code cannot hold, but none of
/// magnitude 1000 or less.
pub fn conformance(make: Make<'_>) {
    law("every row takes row_bytes", matrix(), |rows| takes_row_bytes(make, &rows));
    law("rows are encoded on their own", matrix(), |rows| rows_are_independent(make, &rows));
    law("every byte and value is written", matrix(), |rows| all_is_written(make, &rows));
    law("decoding stays within error_bound", matrix(), |rows| stays_within_bound(make, &rows));
    law("a refused value is named with its place", wild_matrix(), |rows| {
        refusals_have_a_place(make, &rows)
    });
    let cut = (matrix(), any::<Index>(), any::<Index>());
    law("a slice of a payload decodes to its rows", cut, |(rows, a, b)| {
        slices_decode(make, &rows, a, b)
    });
    law("empty payloads are encoded and decoded", empty_matrix(), |rows| {
        takes_row_bytes(make, &rows)
    });
    let damage = (matrix(), any::<Index>(), 1..=u8::MAX);
    law("a damaged header is refused", damage, |(rows, at, flip)| {
        damaged_headers(make, &rows, at, flip)
    });
    law("damaged rows give an error or finite values", noise(), |(rows, noise)| {
        damaged_rows(make, &rows, &noise)
    });
}

/// Runs `test` on inputs that are the same every time.
fn law<S: Strategy>(name: &str, strategy: S, test: impl Fn(S::Value) -> Verdict) {
    let config = Config {
        cases: 128,
        max_shrink_iters: 256,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    match TestRunner::new_with_rng(config, rng).run(&strategy, test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => {
            panic!("broken law: {name}\n{reason}\ninput: {input:?}")
        }
        Err(TestError::Abort(reason)) => panic!("law not tested: {name}\n{reason}"),
    }
}

/// Rows of `hidden` values.
#[derive(Debug, Clone)]
struct Rows {
    hidden: usize,
    values: Vec<f32>,
    count: usize,
}

/// Rows that every quantizer must take. Each row has its own order of magnitude.
fn matrix() -> impl Strategy<Value = Rows> {
    (1usize..5, widths()).prop_flat_map(|(count, hidden)| rows(count, hidden, -149..=8))
}

/// Rows of any finite magnitude.
fn wild_matrix() -> impl Strategy<Value = Rows> {
    (1usize..5, widths()).prop_flat_map(|(count, hidden)| rows(count, hidden, -149..=127))
}

fn empty_matrix() -> impl Strategy<Value = Rows> {
    let none = widths().prop_map(|hidden| Rows { hidden, values: Vec::new(), count: 0 });
    let narrow = (0usize..5).prop_map(|count| Rows { hidden: 0, values: Vec::new(), count });
    prop_oneof![none, narrow]
}

/// Hidden sizes: small, around multiples of common block sizes, and one of a real model.
fn widths() -> impl Strategy<Value = usize> {
    let around = (1usize..=4, -1isize..=1)
        .prop_map(|(blocks, off)| (64 * blocks).saturating_add_signed(off));
    prop_oneof![4 => 1usize..40, 2 => around, 1 => Just(768)]
}

/// Bytes over those of encoded rows: from the start of a row, where its scales may be, or anywhere.
#[derive(Debug, Clone)]
struct Noise {
    at: Index,
    at_row: bool,
    bytes: Vec<u8>,
}

fn noise() -> impl Strategy<Value = (Rows, Noise)> {
    let byte = prop_oneof![
        2 => any::<u8>(),
        // Signs, infinities, NaNs and the largest counts are made of these.
        1 => proptest::sample::select(vec![0, 0x7c, 0x7f, 0x80, 0xff]),
    ];
    let length = prop_oneof![1usize..=8, 1usize..=4096];
    let bytes = length.prop_flat_map(move |length| proptest::collection::vec(byte.clone(), length));
    let noise = (any::<Index>(), any::<bool>(), bytes).prop_map(|(at, at_row, bytes)| Noise {
        at,
        at_row,
        bytes,
    });
    (matrix(), noise)
}

fn rows(
    count: usize,
    hidden: usize,
    exponents: std::ops::RangeInclusive<i32>,
) -> impl Strategy<Value = Rows> {
    let row = exponents.prop_flat_map(move |exponent| {
        let scaled = move |x: f32| {
            let value = (f64::from(x) * 2f64.powi(exponent)) as f32;
            value.clamp(f32::MIN, f32::MAX)
        };
        let value = prop_oneof![
            12 => (-2f32..2.0).prop_map(scaled),
            1 => prop_oneof![Just(1f32), Just(-1.0)].prop_map(scaled),
            1 => prop_oneof![Just(0f32), Just(-0.0)],
        ];
        let zeros = proptest::collection::vec(Just(0f32), hidden);
        prop_oneof![9 => proptest::collection::vec(value, hidden), 1 => zeros]
    });
    proptest::collection::vec(row, count).prop_map(move |rows| Rows {
        hidden,
        values: rows.concat(),
        count,
    })
}

/// Lets everything pass: the quantizer is what is under test.
struct Open;

impl PrivacyPolicy for Open {
    fn info(&self) -> PolicyInfo {
        PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".into() }
    }
}

impl Rows {
    fn clear(&self) -> Result<Cleared, TestCaseError> {
        let layout = Layout::from_counts([self.count]);
        let selected = Selected::new(1, layout, self.hidden, self.values.clone());
        let context = ReleaseContext { samples: &[], purpose: Purpose::Train };
        release(&mut Open, &context, selected.map_err(fail)?).map_err(fail)
    }

    fn row(&self, row: usize) -> Self {
        let values = self.values[row * self.hidden..][..self.hidden].to_vec();
        Self { values, count: 1, ..*self }
    }

    fn encoded(&self, quantizer: &dyn Quantizer) -> Result<Vec<u8>, TestCaseError> {
        let mut bytes = Vec::new();
        encode(quantizer, &self.clear()?, &mut bytes).map_err(fail)?;
        Ok(bytes)
    }
}

fn fail(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn decoded(quantizer: &dyn Quantizer, payload: &Payload<'_>) -> Result<Vec<f32>, TestCaseError> {
    let mut values = Vec::new();
    decode(quantizer, payload, &mut values).map_err(fail)?;
    Ok(values)
}

/// Bits, because -0 equals 0 but is another value.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn takes_row_bytes(make: Make<'_>, rows: &Rows) -> Verdict {
    let (quantizer, other) = (make(), make());
    let bytes = rows.encoded(&*quantizer)?;
    prop_assert_eq!(bytes.len(), payload_bytes(&*quantizer, rows.count, rows.hidden));
    let payload = Payload::parse(&bytes, &*other).map_err(fail)?;
    prop_assert_eq!((payload.rows, payload.hidden), (rows.count, rows.hidden));
    prop_assert_eq!(decoded(&*other, &payload)?.len(), rows.values.len());
    Ok(())
}

fn rows_are_independent(make: Make<'_>, rows: &Rows) -> Verdict {
    let quantizer = make();
    let together = rows.encoded(&*quantizer)?;
    let mut alone = Vec::new();
    for row in 0..rows.count {
        alone.extend_from_slice(&rows.row(row).encoded(&*quantizer)?[HEADER_BYTES..]);
    }
    prop_assert_eq!(&together[HEADER_BYTES..], alone);
    Ok(())
}

fn all_is_written(make: Make<'_>, rows: &Rows) -> Verdict {
    let quantizer = make();
    let length = rows.count * quantizer.row_bytes(rows.hidden);
    let (mut zeros, mut ones) = (vec![0; length], vec![0xff; length]);
    let cleared = rows.clear()?;
    quantizer.encode_rows(&cleared, &mut zeros).map_err(fail)?;
    quantizer.encode_rows(&cleared, &mut ones).map_err(fail)?;
    prop_assert_eq!(zeros, ones, "encoding depends on what was in the buffer");

    let bytes = rows.encoded(&*quantizer)?;
    let payload = Payload::parse(&bytes, &*quantizer).map_err(fail)?;
    let (mut zeros, mut ones) = (vec![0.0; rows.values.len()], vec![1.0; rows.values.len()]);
    quantizer.decode_rows(&payload, &mut zeros).map_err(fail)?;
    quantizer.decode_rows(&payload, &mut ones).map_err(fail)?;
    prop_assert_eq!(bits(&zeros), bits(&ones), "decoding depends on what was in the buffer");
    Ok(())
}

fn stays_within_bound(make: Make<'_>, rows: &Rows) -> Verdict {
    let (writer, reader) = (make(), make());
    let bytes = rows.encoded(&*writer)?;
    let values = decoded(&*reader, &Payload::parse(&bytes, &*reader).map_err(fail)?)?;
    check_bound(&*writer, rows, &values)
}

fn check_bound(quantizer: &dyn Quantizer, rows: &Rows, decoded: &[f32]) -> Verdict {
    let pairs = rows.values.chunks(rows.hidden).zip(decoded.chunks(rows.hidden));
    for (row, (values, decoded)) in pairs.enumerate() {
        let bounds = quantizer.error_bound(values);
        prop_assert_eq!(bounds.len(), values.len(), "row {}: one bound per value", row);
        for (column, ((value, decoded), bound)) in
            values.iter().zip(decoded).zip(bounds).enumerate()
        {
            let error = (f64::from(*value) - f64::from(*decoded)).abs();
            prop_assert!(
                error <= f64::from(bound) && bound.is_finite(),
                "row {row}, column {column}: {value:e} became {decoded:e}, off by {error:e}; \
                 bound {bound:e}"
            );
        }
    }
    Ok(())
}

fn refusals_have_a_place(make: Make<'_>, rows: &Rows) -> Verdict {
    let quantizer = make();
    let mut bytes = vec![7];
    match encode(&*quantizer, &rows.clear()?, &mut bytes) {
        Ok(()) => {
            let payload = Payload::parse(&bytes[1..], &*quantizer).map_err(fail)?;
            check_bound(&*quantizer, rows, &decoded(&*quantizer, &payload)?)
        }
        Err(QuantizeError::Value { row, column, value, .. }) => {
            prop_assert!(row < rows.count && column < rows.hidden, "row {row}, column {column}");
            let there = rows.values[row * rows.hidden + column];
            prop_assert_eq!(there.to_bits(), value.to_bits(), "row {}, column {}", row, column);
            // The refusal is about this value: alone in its row, it is refused as well.
            let mut alone = rows.row(row);
            alone.values.fill(0.0);
            alone.values[column] = value;
            prop_assert!(alone.encoded(&*quantizer).is_err(), "alone, {} is encoded", value);
            Ok(())
        }
        Err(error) => Err(fail(format!("expected QuantizeError::Value, got: {error}"))),
    }
}

fn slices_decode(make: Make<'_>, rows: &Rows, a: Index, b: Index) -> Verdict {
    let quantizer = make();
    let bytes = rows.encoded(&*quantizer)?;
    let payload = Payload::parse(&bytes, &*quantizer).map_err(fail)?;
    let all = decoded(&*quantizer, &payload)?;
    let (a, b) = (a.index(rows.count + 1), b.index(rows.count + 1));
    let range = a.min(b)..a.max(b);
    let expected = &all[range.start * rows.hidden..range.end * rows.hidden];
    let slice = decoded(&*quantizer, &payload.slice(range))?;
    prop_assert_eq!(bits(&slice), bits(expected));
    Ok(())
}

/// Bytes of a header that say what the rows are encoded as; the counts follow.
const FORMAT_BYTES: usize = 8;

fn damaged_headers(make: Make<'_>, rows: &Rows, at: Index, flip: u8) -> Verdict {
    let quantizer = make();
    let mut bytes = rows.encoded(&*quantizer)?;
    let length = at.index(bytes.len());
    prop_assert!(Payload::parse(&bytes[..length], &*quantizer).is_err(), "cut to {length} bytes");
    bytes.push(0);
    prop_assert!(Payload::parse(&bytes, &*quantizer).is_err(), "a byte too many");
    bytes.pop();

    let at = at.index(HEADER_BYTES);
    bytes[at] ^= flip;
    match Payload::parse(&bytes, &*quantizer) {
        Ok(_) if at < FORMAT_BYTES => Err(fail(format!("byte {at} of the header is not checked"))),
        // Other counts may fit the same bytes; then the rows are just noise.
        Ok(payload) => finite_or_refused(&*quantizer, &payload),
        Err(_) => Ok(()),
    }
}

fn damaged_rows(make: Make<'_>, rows: &Rows, noise: &Noise) -> Verdict {
    let quantizer = make();
    let mut bytes = rows.encoded(&*quantizer)?;
    let start = if noise.at_row {
        noise.at.index(rows.count) * quantizer.row_bytes(rows.hidden)
    } else {
        noise.at.index(bytes.len() - HEADER_BYTES)
    };
    for (byte, noise) in bytes[HEADER_BYTES + start..].iter_mut().zip(&noise.bytes) {
        *byte = *noise;
    }
    finite_or_refused(&*quantizer, &Payload::parse(&bytes, &*quantizer).map_err(fail)?)
}

fn finite_or_refused(quantizer: &dyn Quantizer, payload: &Payload<'_>) -> Verdict {
    let mut values = Vec::new();
    if decode(quantizer, payload, &mut values).is_ok() {
        let broken = values.iter().find(|value| !value.is_finite());
        prop_assert_eq!(broken, None, "decoded from damaged bytes");
    }
    Ok(())
}

#[cfg(test)]
mod mutants;
