//! Quantized blocks stay what they are.

use std::collections::BTreeMap;

use mobillm_bundle::{Bundle, ImportOptions, WeightFormat};
use mobillm_gguf::fixture::GgufBuilder;
use mobillm_gguf::{Gguf, TensorType};
use mobillm_weights::{Bits, Encoding};
use proptest::prelude::*;

use crate::models::{MATRICES, imported, interleaved, quantized, try_import};

/// The matrices of the bundle by our names: how they are stored, and their values.
fn matrices(bundle: &Bundle) -> BTreeMap<&'static str, (Encoding, Vec<f32>)> {
    let weights = bundle.weights().unwrap();
    let read = |(name, _, rows): &(&'static str, _, usize)| {
        let matrix = weights.matrix(name).unwrap();
        let mut values = vec![0.0; rows * 256];
        matrix.dequantize_rows(0..*rows, &mut values).unwrap();
        (*name, (matrix.encoding(), values))
    };
    MATRICES.iter().map(read).collect()
}

/// The values that llama.cpp reads, by our names and in our order.
fn expected(builder: &GgufBuilder) -> BTreeMap<&'static str, Vec<f32>> {
    let file = builder.build();
    let gguf = Gguf::parse(&file).unwrap();
    let read = |(ours, theirs, rows): &(&'static str, &str, usize)| {
        let mut values = gguf.tensor(theirs).unwrap().read_f32(&file).unwrap();
        for (part, heads) in [("query", 4), ("key", 2)] {
            if ours.contains(part) {
                values = apart(&values, *rows, heads);
            }
        }
        (*ours, values)
    };
    MATRICES.iter().map(read).collect()
}

/// The inverse of [`interleaved`].
fn apart(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let places: Vec<f32> = (0..rows).map(|row| row as f32).collect();
    let mut out = vec![0.0; values.len()];
    let width = values.len() / rows;
    for (from, to) in interleaved(&places, rows, heads).into_iter().enumerate() {
        let to = to as usize;
        out[to * width..(to + 1) * width]
            .copy_from_slice(&values[from * width..(from + 1) * width]);
    }
    out
}

fn has_minima(kind: TensorType) -> bool {
    matches!(kind, TensorType::Q4_1 | TensorType::Q4K)
}

fn is_four_bit(kind: TensorType) -> bool {
    has_minima(kind) || kind == TensorType::Q4_0
}

const QUANTIZED: [TensorType; 5] =
    [TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q4K, TensorType::Q6K];

const ALL: [TensorType; 8] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::Bf16,
    TensorType::Q8_0,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q4K,
    TensorType::Q6K,
];

/// The most by which each of `values`, in rows of 256, is off in `encoding`, if it was made from them:
/// half a step, and a whole one in 4 bits, which may be clipped.
fn bounds(encoding: Encoding, values: &[f32]) -> Vec<f32> {
    let (width, steps) = match encoding {
        Encoding::F32 | Encoding::F16 => (256, f32::INFINITY),
        Encoding::Int8 => (256, 254.0),
        Encoding::Blocks { bits: Bits::Eight, block, .. } => (block, 254.0),
        Encoding::Blocks { bits: Bits::Four, block, .. } => (block, 8.0),
    };
    let rounding = 1e-6 * values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let mut bounds = Vec::new();
    for part in values.chunks(width) {
        let largest = part.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        bounds.extend(part.iter().map(|value| {
            let half = (value.abs() / 2048.0).max(2_f32.powi(-25));
            rounding + if encoding == Encoding::F16 { half } else { largest / steps }
        }));
    }
    bounds
}

/// Requires a file of these types to become a bundle of `format`, each value that of the file but for
/// a step of the format.
fn becomes(kinds: [TensorType; 8], format: WeightFormat, seed: u64) -> Result<(), String> {
    let file = quantized(&kinds, seed);
    let options = ImportOptions { weights: Some(format), ..ImportOptions::default() };
    let (_kept, bundle) = try_import(&file, &options)?;
    assert_eq!(bundle.weight_format(), format);
    let (got, expected) = (matrices(&bundle), expected(&file));
    for ((ours, ..), kind) in MATRICES.iter().zip(kinds) {
        let ((encoding, got), expected) = (&got[ours], &expected[ours]);
        let each = got.iter().zip(expected).zip(bounds(*encoding, expected));
        for ((got, expected), bound) in each {
            if (got - expected).abs() > bound {
                return Err(format!("{ours}, {kind}, {encoding:?}: {expected} became {got}"));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn blocks_stay_what_they_are(
        kinds in prop::array::uniform8(prop::sample::select(&QUANTIZED[..])),
        seed in any::<u64>(),
    ) {
        let file = quantized(&kinds, seed);
        let (_kept, bundle) = imported(&file);
        let four: usize = kinds[1..].iter().zip(&MATRICES[1..])
            .map(|(kind, (.., rows))| if is_four_bit(*kind) { *rows } else { 0 }).sum();
        let all: usize = MATRICES[1..].iter().map(|(.., rows)| rows).sum();
        let is_four = 2 * four >= all;
        let format = if is_four { WeightFormat::Q4 } else { WeightFormat::Q8 };
        prop_assert_eq!(bundle.weight_format(), format);

        let (got, expected) = (matrices(&bundle), expected(&file));
        for ((ours, ..), kind) in MATRICES.iter().zip(kinds) {
            // Of 4 bit blocks in a model that is mostly 8 bit the writer makes 8 bit ones.
            if !is_four && is_four_bit(kind) && !ours.starts_with("embedding") {
                continue;
            }
            let (encoding, values) = &got[ours];
            prop_assert!(matches!(encoding, Encoding::Blocks { .. }), "{} {}", ours, kind);
            let largest = expected[ours].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let tolerance = if has_minima(kind) { 1e-6 * largest } else { 0.0 };
            for (got, expected) in values.iter().zip(&expected[ours]) {
                prop_assert!((got - expected).abs() <= tolerance, "{} {}: {} {}", ours, kind, got, expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_types_become_any_format(
        kinds in prop::array::uniform8(prop::sample::select(&ALL[..])),
        format in prop::sample::select(WeightFormat::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        becomes(kinds, format, seed).map_err(TestCaseError::fail)?;
    }
}

/// The file's own format is not that of its blocks.
#[test]
fn blocks_among_floats_become_any_format() {
    for kind in QUANTIZED {
        for format in WeightFormat::ALL {
            let mut kinds = [TensorType::F16; 8];
            (kinds[0], kinds[2]) = (kind, kind);
            becomes(kinds, format, 3).unwrap();
        }
    }
}

#[test]
fn another_format_can_be_asked_for() {
    let file = quantized(&[TensorType::Q4_0; 8], 5);
    let expected = expected(&file);
    for format in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Q8, WeightFormat::Int8] {
        let options = ImportOptions { weights: Some(format), ..ImportOptions::default() };
        let (_kept, bundle) = try_import(&file, &options).unwrap();
        assert_eq!(bundle.weight_format(), format);
        for (name, (_, values)) in matrices(&bundle) {
            let largest =
                expected[name].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let off = values.iter().zip(&expected[name]);
            let off = off.fold(0.0_f32, |off, (got, expected)| off.max((got - expected).abs()));
            let tolerance = if format == WeightFormat::F32 { 0.0 } else { largest / 127.0 };
            assert!(off <= tolerance, "{format} {name}: off by {off}");
        }
    }
}

#[test]
fn the_format_is_that_of_the_layers() {
    for (kind, format) in [
        (TensorType::F16, WeightFormat::F16),
        (TensorType::Bf16, WeightFormat::F32),
        (TensorType::Q6K, WeightFormat::Q8),
        (TensorType::Q4K, WeightFormat::Q4),
    ] {
        let mut kinds = [kind; 8];
        kinds[0] = TensorType::Q8_0;
        let (_kept, bundle) = imported(&quantized(&kinds, 3));
        assert_eq!(bundle.weight_format(), format, "{kind}");
    }
}
