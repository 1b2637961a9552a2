//! Laws of the quantizer slot.
//!
//! [`quantizer_conformance!`](crate::quantizer_conformance) makes a test of each; [`conformance`] holds
//! them all at once:
//!
//! ```
//! use mobillm_core::quantizer::QuantizerConfig;
//! use mobillm_quantizers::Fp16Config;
//!
//! mobillm_testkit::quantizer::conformance(&|| Fp16Config::default().build());
//! ```
//!
//! # Laws
//!
//! On matrices of up to four rows, as wide as real ones and empty ones among them, the same in every run.
//!
//! * `every_row_takes_row_bytes`: a payload has the size that `row_bytes` says, and another instance reads
//!   it.
//! * `rows_are_encoded_on_their_own`: a row's bytes do not depend on its batch mates.
//! * `every_byte_and_value_is_written`: what was in a buffer before changes nothing.
//! * `decoding_stays_within_error_bound`: value by value, within what `error_bound` says of the row.
//! * `a_refused_value_is_named_with_its_place`: finite values up to 1000 are encoded; another may be refused,
//!   by row and column.
//! * `a_slice_of_a_payload_decodes_to_its_rows`: to the bits of the whole.
//! * `empty_payloads_are_encoded_and_decoded`: no rows is no error.
//! * `a_damaged_header_is_refused`: cut, too long, of another format or of other counts than expected.
//! * `damaged_rows_give_an_error_or_finite_values`: whatever stands in them.
//! * `threads_share_an_instance`: at once they encode and decode what one after the other would.

#[cfg(test)]
mod mutants;
mod rows;

use mobillm_core::quantizer::{
    HEADER_BYTES, Payload, QuantizeError, Quantizer, decode, encode, payload_bytes,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};

use crate::law::{Law, hold_all};
use rows::{Noise, Rows, empty_matrix, matrix, noise, wild_matrix};

/// Makes the quantizer under test; called often, and all it makes must be interchangeable.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Quantizer>;

type Verdict = Result<(), TestCaseError>;

/// Makes a module of tests, one for each law, of what `make` is: a closure that gives a boxed
/// [`Quantizer`], called often; all it makes must be interchangeable. The module has the name that is
/// given, or `conformance`.
///
/// ```
/// use mobillm_core::quantizer::QuantizerConfig;
/// use mobillm_quantizers::Fp16Config;
///
/// mobillm_testkit::quantizer_conformance!(fp16, || Fp16Config::default().build());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! quantizer_conformance {
    (@laws $then:ident $($given:tt)*) => {
        $crate::$then! {
            [
                every_row_takes_row_bytes
                rows_are_encoded_on_their_own
                every_byte_and_value_is_written
                decoding_stays_within_error_bound
                a_refused_value_is_named_with_its_place
                a_slice_of_a_payload_decodes_to_its_rows
                empty_payloads_are_encoded_and_decoded
                a_damaged_header_is_refused
                damaged_rows_give_an_error_or_finite_values
                threads_share_an_instance
            ]
            $($given)*
        }
    };
    ($module:ident, $make:expr $(,)?) => {
        $crate::quantizer_conformance! { @laws __law_tests $module, |name: &str| {
            $crate::law::hold(&$crate::quantizer::laws($make), name)
        } }
    };
    ($make:expr $(,)?) => {
        $crate::quantizer_conformance! { conformance, $make }
    };
}

/// Panics with the law that the quantizers of `make` break, and with a small input that shows it.
pub fn conformance(make: Make<'_>) {
    hold_all(&laws(make));
}

/// Every law, for the quantizers of `make`.
///
/// That non-finite values are an error is no law here: [`release`](mobillm_core::privacy::release)
/// refuses them, so that no `Cleared` has any. A quantizer may refuse finite values that its code cannot hold, but none of
/// magnitude 1000 or less.
pub fn laws<'a>(make: impl Fn() -> Box<dyn Quantizer> + Copy + 'a) -> Vec<Law<'a>> {
    let cut = || (matrix(), any::<Index>(), any::<Index>());
    let damage = || (matrix(), any::<Index>(), 1..=u8::MAX);
    vec![
        law("every_row_takes_row_bytes", matrix, move |rows| takes_row_bytes(&make, &rows)),
        law("rows_are_encoded_on_their_own", matrix, move |rows| {
            rows_are_independent(&make, &rows)
        }),
        law("every_byte_and_value_is_written", matrix, move |rows| all_is_written(&make, &rows)),
        law("decoding_stays_within_error_bound", matrix, move |rows| {
            stays_within_bound(&make, &rows)
        }),
        law("a_refused_value_is_named_with_its_place", wild_matrix, move |rows| {
            refusals_have_a_place(&make, &rows)
        }),
        law("a_slice_of_a_payload_decodes_to_its_rows", cut, move |(rows, a, b)| {
            slices_decode(&make, &rows, a, b)
        }),
        law("empty_payloads_are_encoded_and_decoded", empty_matrix, move |rows| {
            takes_row_bytes(&make, &rows)
        }),
        law("a_damaged_header_is_refused", damage, move |(rows, at, flip)| {
            damaged_headers(&make, &rows, at, flip)
        }),
        law("damaged_rows_give_an_error_or_finite_values", noise, move |(rows, noise)| {
            damaged_rows(&make, &rows, &noise)
        }),
        law(
            "threads_share_an_instance",
            || proptest::collection::vec(matrix(), 4),
            move |all| threads_share(&make, &all),
        ),
    ]
}

/// The law that `test` is kept on inputs of `strategy`, the same every time.
fn law<'a, S: Strategy>(
    name: &'static str,
    strategy: impl Fn() -> S + 'a,
    test: impl Fn(S::Value) -> Verdict + 'a,
) -> Law<'a> {
    Law::new(name, move || {
        let config = Config {
            cases: 128,
            max_shrink_iters: 256,
            failure_persistence: None,
            ..Config::default()
        };
        let rng = TestRng::deterministic_rng(config.rng_algorithm);
        match TestRunner::new_with_rng(config, rng).run(&strategy(), &test) {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => panic!("{reason}\ninput: {input:?}"),
            Err(TestError::Abort(reason)) => panic!("the law was not tested: {reason}"),
        }
    })
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
    let payload = Payload::parse(&bytes, &*other, rows.shape()).map_err(fail)?;
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
    quantizer.encode_rows(cleared.lend(), &mut zeros).map_err(fail)?;
    quantizer.encode_rows(cleared.lend(), &mut ones).map_err(fail)?;
    prop_assert_eq!(zeros, ones, "encoding depends on what was in the buffer");

    let bytes = rows.encoded(&*quantizer)?;
    let payload = Payload::parse(&bytes, &*quantizer, rows.shape()).map_err(fail)?;
    let (mut zeros, mut ones) = (vec![0.0; rows.values.len()], vec![1.0; rows.values.len()]);
    quantizer.decode_rows(&payload, &mut zeros).map_err(fail)?;
    quantizer.decode_rows(&payload, &mut ones).map_err(fail)?;
    prop_assert_eq!(bits(&zeros), bits(&ones), "decoding depends on what was in the buffer");
    Ok(())
}

fn stays_within_bound(make: Make<'_>, rows: &Rows) -> Verdict {
    let (writer, reader) = (make(), make());
    let bytes = rows.encoded(&*writer)?;
    let values = decoded(&*reader, &Payload::parse(&bytes, &*reader, rows.shape()).map_err(fail)?)?;
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
            let payload = Payload::parse(&bytes[1..], &*quantizer, rows.shape()).map_err(fail)?;
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
    let payload = Payload::parse(&bytes, &*quantizer, rows.shape()).map_err(fail)?;
    let all = decoded(&*quantizer, &payload)?;
    let (a, b) = (a.index(rows.count + 1), b.index(rows.count + 1));
    let range = a.min(b)..a.max(b);
    let expected = &all[range.start * rows.hidden..range.end * rows.hidden];
    let slice = decoded(&*quantizer, &payload.slice(range))?;
    prop_assert_eq!(bits(&slice), bits(expected));
    Ok(())
}

fn damaged_headers(make: Make<'_>, rows: &Rows, at: Index, flip: u8) -> Verdict {
    let quantizer = make();
    let mut bytes = rows.encoded(&*quantizer)?;
    let length = at.index(bytes.len());
    prop_assert!(
        Payload::parse(&bytes[..length], &*quantizer, rows.shape()).is_err(),
        "cut to {length} bytes"
    );
    bytes.push(0);
    prop_assert!(Payload::parse(&bytes, &*quantizer, rows.shape()).is_err(), "a byte too many");
    bytes.pop();

    let at = at.index(HEADER_BYTES);
    bytes[at] ^= flip;
    let parsed = Payload::parse(&bytes, &*quantizer, rows.shape());
    prop_assert!(parsed.is_err(), "byte {at} of the header is not checked");
    // To a reader that expects just these counts the rows are noise, if they fit the same bytes.
    match Payload::parse(&bytes, &*quantizer, claimed(&bytes)) {
        Ok(payload) if payload.rows * payload.hidden <= MOST_CLAIMED => {
            finite_or_refused(&*quantizer, &payload)
        }
        _ => Ok(()),
    }
}

/// More values are not decoded only because a header says so.
const MOST_CLAIMED: usize = 1 << 20;

/// The rows and their width that a header claims.
fn claimed(bytes: &[u8]) -> (usize, usize) {
    let word = |at| bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word) as usize);
    (word(8), word(12))
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
    finite_or_refused(
        &*quantizer,
        &Payload::parse(&bytes, &*quantizer, rows.shape()).map_err(fail)?,
    )
}

/// A quantizer is `Sync`: what several threads encode and decode at once is what one does.
fn threads_share(make: Make<'_>, all: &[Rows]) -> Verdict {
    let quantizer = make();
    let quantizer = &*quantizer;
    let there_and_back = |rows: &Rows| {
        let bytes = rows.encoded(quantizer)?;
        let values =
            decoded(quantizer, &Payload::parse(&bytes, quantizer, rows.shape()).map_err(fail)?)?;
        Ok::<_, TestCaseError>((bytes, bits(&values)))
    };
    let alone: Vec<_> = all.iter().map(there_and_back).collect::<Result<_, _>>()?;
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            all.iter().map(|rows| scope.spawn(move || there_and_back(rows))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for (alone, together) in alone.into_iter().zip(together) {
        match together {
            Ok(together) => prop_assert_eq!(together?, alone, "at once and one after the other"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    Ok(())
}

fn finite_or_refused(quantizer: &dyn Quantizer, payload: &Payload<'_>) -> Verdict {
    let mut values = Vec::new();
    if decode(quantizer, payload, &mut values).is_ok() {
        let broken = values.iter().find(|value| !value.is_finite());
        prop_assert_eq!(broken, None, "decoded from damaged bytes");
    }
    Ok(())
}
