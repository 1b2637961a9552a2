//! What `encode` keeps of a matrix.

use mobillm_weights::{Encoded, Encoding, Matrix, MatrixError, WeightFormat, encode, f16};
use proptest::prelude::*;

use crate::setup::{bits, formats, matrices, says, values};

/// The most that rounding in f32 adds to a bound, as a factor.
const ROUNDING: f32 = 1.0 + 1e-5;

/// The most by which each value of `encoded`, made from `values`, may be off.
fn bounds(encoded: &Encoded, values: &[f32]) -> Vec<f32> {
    let columns = encoded.matrix().columns();
    match encoded.matrix() {
        Matrix::F32 { .. } => vec![0.0; values.len()],
        Matrix::F16 { .. } => {
            let ulp = |value: &f32| value.abs() / 2048.0;
            values.iter().map(|value| ulp(value).max(2f32.powi(-25))).collect()
        }
        Matrix::Blocks(blocks) => {
            let step = |at: usize| blocks.scales[at / blocks.block];
            let clipped = |at: usize| blocks.bits.width() == 4 && values[at] / step(at) > 7.0;
            let bound = |at| if clipped(at) { 1.0 } else { 0.5 } * step(at).abs() * ROUNDING;
            (0..values.len()).map(bound).collect()
        }
        Matrix::Int8(rows) => {
            (0..values.len()).map(|at| 0.5 * rows.scales[at / columns] * ROUNDING).collect()
        }
    }
}

proptest! {
    #[test]
    fn values_are_off_by_half_a_step_at_most(
        ([rows, columns], source) in matrices(),
        format in formats(),
    ) {
        let encoded = encode(source.clone(), rows, columns, format).unwrap();
        let read = values(&encoded.matrix());
        for ((value, read), bound) in source.iter().zip(read).zip(bounds(&encoded, &source)) {
            prop_assert!((value - read).abs() <= bound, "{value} became {read}, bound {bound}");
        }
    }

    #[test]
    fn steps_are_a_share_of_the_largest_magnitude(
        ([rows, columns], source) in matrices(),
        format in formats(),
    ) {
        let encoded = encode(source.clone(), rows, columns, format).unwrap();
        let (scales, width, steps) = match encoded.matrix() {
            Matrix::Blocks(blocks) if format == WeightFormat::Q4 => (blocks.scales, 32, 8.0),
            Matrix::Blocks(blocks) => (blocks.scales, 32, 127.0),
            Matrix::Int8(matrix) => (matrix.scales, columns, 127.0),
            Matrix::F32 { .. } | Matrix::F16 { .. } => return Ok(()),
        };
        prop_assert_eq!(scales.len(), source.len() / width);
        for (scale, values) in scales.iter().zip(source.chunks_exact(width)) {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            prop_assert_eq!(scale.abs(), largest / steps);
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others(
        ([rows, columns], source) in matrices(),
        format in formats(),
        (from, to) in (0usize..70, 0usize..70),
    ) {
        let (from, to) = (from % rows, to % rows);
        let (from, to) = (from.min(to), from.max(to) + 1);
        let part = source[from * columns..to * columns].to_vec();
        let alone = encode(part, to - from, columns, format).unwrap();
        let whole = encode(source, rows, columns, format).unwrap();
        let mut read = vec![f32::NAN; (to - from) * columns];
        whole.matrix().dequantize_rows(from..to, &mut read).unwrap();
        prop_assert_eq!(bits(&read), bits(&values(&alone.matrix())));
        prop_assert_eq!(
            bits(&read),
            bits(&values(&whole.matrix())[from * columns..to * columns])
        );
    }

    #[test]
    fn the_value_of_largest_magnitude_is_exact_in_q4(
        source in prop::collection::vec(-1e30f32..1e30, 32),
    ) {
        let largest = |values: &[f32]| values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let encoded = encode(source.clone(), 1, 32, WeightFormat::Q4).unwrap();
        prop_assert_eq!(largest(&values(&encoded.matrix())), largest(&source));
    }

    #[test]
    fn q4_has_the_codes_and_scales_of_ggml(
        ([rows, columns], source) in prop_oneof![matrices(), integers()],
    ) {
        let encoded = encode(source.clone(), rows, columns, WeightFormat::Q4).unwrap();
        let Matrix::Blocks(blocks) = encoded.matrix() else {
            prop_assert!(!columns.is_multiple_of(32));
            return Ok(());
        };
        let each = blocks.quants.chunks(16).zip(blocks.scales).zip(source.chunks(32));
        for ((quants, scale), values) in each {
            let (codes, expected) = ggml_q4_0(values);
            prop_assert_eq!(scale.to_bits(), expected.to_bits());
            let got: Vec<u8> = quants.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
            prop_assert_eq!(got, codes);
        }
    }

    #[test]
    fn int8_codes_are_transposed(([rows, columns], source) in matrices()) {
        let encoded = encode(source, rows, columns, WeightFormat::Int8).unwrap();
        let Encoded::Int8(matrix) = &encoded else {
            prop_assert!(!columns.is_multiple_of(32));
            return Ok(());
        };
        let (matrix, read) = (matrix.view(), values(&encoded.matrix()));
        for (at, value) in read.iter().enumerate() {
            let (row, column) = (at / columns, at % columns);
            let code = matrix.quants[column * rows + row];
            prop_assert_eq!(*value, f32::from(code) * matrix.scales[row]);
        }
        prop_assert!(matrix.quants.iter().all(|&code| code != i8::MIN));
    }

    #[test]
    fn what_is_not_finite_is_refused_where_it_is(
        ([rows, columns], mut source) in matrices(),
        format in formats(),
        at in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let at = at.index(source.len());
        source[at] = bad;
        let error = encode(source, rows, columns, format).unwrap_err();
        let MatrixError::Value { row, column, value, .. } = error else {
            return Err(TestCaseError::fail(error.to_string()));
        };
        prop_assert_eq!((row, column), (at / columns, at % columns));
        prop_assert_eq!(value.to_bits(), bad.to_bits());
    }

    #[test]
    fn the_encoding_is_known_beforehand(
        ([rows, columns], source) in matrices(),
        format in formats(),
    ) {
        let encoded = encode(source, rows, columns, format).unwrap();
        prop_assert_eq!(encoded.matrix().encoding(), format.encoding(columns));
    }
}

/// A row of small integers: both ends have one magnitude often, and many values lie halfway.
fn integers() -> impl Strategy<Value = ([usize; 2], Vec<f32>)> {
    prop::collection::vec((-4i8..=4).prop_map(f32::from), 32).prop_map(|row| ([1, 32], row))
}

/// Codes and scale of a block as GGML's reference for Q4_0 makes them, before it rounds the scale.
fn ggml_q4_0(values: &[f32]) -> (Vec<u8>, f32) {
    let (mut magnitude, mut extreme) = (0.0f32, 0.0f32);
    for &value in values {
        if magnitude < value.abs() {
            (magnitude, extreme) = (value.abs(), value);
        }
    }
    let scale = extreme / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let code = |value: &f32| 15.min((value * inverse + 8.5) as i8 as u8);
    (values.iter().map(code).collect(), scale)
}

#[test]
fn zeros_stay_zeros() {
    for format in WeightFormat::ALL {
        let encoded = encode(vec![0.0; 64], 2, 32, format).unwrap();
        assert_eq!(values(&encoded.matrix()), [0.0; 64], "{format}");
    }
}

#[test]
fn the_ends_of_f32_are_read_back_finite_and_near() {
    for format in [WeightFormat::Q8, WeightFormat::Q4, WeightFormat::Int8] {
        for largest in [f32::MAX / 2.0, f32::MIN_POSITIVE, f32::from_bits(1)] {
            for sign in [1.0, -1.0] {
                let mut source = vec![0.0; 32];
                source[3] = largest * sign;
                source[4] = -largest * sign / 2.0;
                let encoded = encode(source.clone(), 1, 32, format).unwrap();
                for (value, read) in source.iter().zip(values(&encoded.matrix())) {
                    let bound = (largest / 14.0).max(1e-36);
                    assert!((value - read).abs() <= bound, "{format}: {value} became {read}");
                }
            }
        }
    }
}

#[test]
fn matrices_that_do_not_fit_a_format_stay_f32() {
    let stored = |format: WeightFormat, columns| format.encoding(columns);
    for format in [WeightFormat::Q8, WeightFormat::Q4, WeightFormat::Int8] {
        assert_ne!(stored(format, 96), Encoding::F32, "{format}");
        assert_eq!(stored(format, 80), Encoding::F32, "{format}");
        assert_eq!(stored(format, 16), Encoding::F32, "{format}");
    }
    assert_eq!(stored(WeightFormat::F16, 80), Encoding::F16);
}

#[test]
fn what_f16_cannot_hold_is_refused() {
    let largest = f16::MAX.to_f32();
    encode(vec![0.0, largest, -largest, 0.0], 2, 2, WeightFormat::F16).unwrap();
    let error = encode(vec![0.0, 1.0, 65520.0, 0.0], 2, 2, WeightFormat::F16).unwrap_err();
    says(error, &["row 1, column 0", "65520", "65504"]);
}

#[test]
fn what_would_be_read_back_as_infinity_is_refused() {
    for format in [WeightFormat::Q8, WeightFormat::Q4, WeightFormat::Int8] {
        let mut source = vec![0.0; 64];
        source[33] = -f32::MAX;
        says(encode(source, 2, 32, format).unwrap_err(), &["row 1, column 1"]);
    }
}

#[test]
fn shapes_that_contradict_the_values_are_refused() {
    let refused = |values, rows, columns, words: &[&str]| {
        says(encode(vec![0.0; values], rows, columns, WeightFormat::Q8).unwrap_err(), words);
    };
    refused(63, 2, 32, &["2 x 32", "63 values"]);
    refused(0, 0, 32, &["0 x 32", "empty"]);
    refused(0, 2, 0, &["2 x 0", "empty"]);
    refused(0, usize::MAX, 2, &["addresses"]);
}

#[test]
fn rows_that_are_not_there_cannot_be_read() {
    let encoded = encode(vec![0.0; 64], 2, 32, WeightFormat::Q4).unwrap();
    let mut out = vec![0.0; 64];
    says(encoded.matrix().dequantize_rows(1..3, &mut out).unwrap_err(), &["1..3", "has 2"]);
    says(encoded.matrix().dequantize_rows(0..1, &mut out).unwrap_err(), &["1 x 32", "64"]);
    encoded.matrix().dequantize_rows(1..1, &mut []).unwrap();
}

#[test]
fn formats_are_named() {
    for format in WeightFormat::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
    }
    says("q5".parse::<WeightFormat>().unwrap_err(), &["\"q5\"", "f32, f16, q8, q4, int8"]);
}

#[test]
fn embeddings_can_be_read_row_by_row() {
    for format in WeightFormat::ALL {
        assert!(!matches!(format.of_embedding().encoding(64), Encoding::Int8));
    }
    assert_eq!(WeightFormat::Q4.of_embedding(), WeightFormat::Q8);
    assert_eq!(WeightFormat::F16.of_embedding(), WeightFormat::F16);
}
