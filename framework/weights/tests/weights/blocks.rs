//! Blocks that come from elsewhere.

use mobillm_weights::{Bits, Blocks, f16};
use proptest::prelude::*;

use crate::setup::{bits, says};

/// Scales and minima as GGML keeps them.
fn half() -> impl Strategy<Value = f32> {
    let finite = |bits| Some(f16::from_bits(bits).to_f32()).filter(|half| half.is_finite());
    any::<u16>().prop_filter_map("finite", finite)
}

/// The codes of a GGML block with 4 bits: the low nibbles of all bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

const SHAPE: [usize; 2] = [2, 64];

proptest! {
    #[test]
    fn q4_0_is_bit_equal(
        scales in prop::collection::vec(half(), 4),
        bytes in prop::collection::vec(any::<u8>(), 64),
    ) {
        let codes: Vec<u8> = bytes.chunks(16).flat_map(nibbles).collect();
        let value = |(at, &code): (usize, &u8)| (i32::from(code) - 8) as f32 * scales[at / 32];
        let expected: Vec<f32> = codes.iter().enumerate().map(value).collect();
        let blocks = Blocks::from_codes(Bits::Four, 32, SHAPE, codes, scales, None).unwrap();
        prop_assert_eq!(bits(&blocks.dequantize()), bits(&expected));
    }

    #[test]
    fn q8_0_and_q6_k_are_bit_equal(
        scales in prop::collection::vec(half(), 8),
        codes in prop::collection::vec(any::<i8>(), 128),
        block in prop::sample::select(vec![16usize, 32]),
    ) {
        let scales = scales[..128 / block].to_vec();
        let value = |(at, &code): (usize, &i8)| f32::from(code) * scales[at / block];
        let expected: Vec<f32> = codes.iter().enumerate().map(value).collect();
        let codes = codes.iter().map(|&code| (code as u8) ^ 0x80).collect();
        let blocks = Blocks::new(Bits::Eight, block, SHAPE, codes, scales, None).unwrap();
        // Code 0 times a negative scale is -0.0 in both.
        prop_assert_eq!(bits(&blocks.dequantize()), bits(&expected));
    }

    /// Bit-equal where the offset m + 8 d is exact in f32, which of f16 numbers it is unless one is
    /// some thousand times the other.
    #[test]
    fn q4_1_is_bit_equal_or_within_1e_6(
        parts in prop::collection::vec((half(), half()), 4),
        bytes in prop::collection::vec(any::<u8>(), 64),
    ) {
        let codes: Vec<u8> = bytes.chunks(16).flat_map(nibbles).collect();
        let value = |(at, &code): (usize, &u8)| {
            let (scale, minimum) = parts[at / 32];
            f32::from(code) * scale + minimum
        };
        let expected: Vec<f32> = codes.iter().enumerate().map(value).collect();
        let scales = parts.iter().map(|&(scale, _)| scale).collect();
        let offsets = parts.iter().map(|&(scale, minimum)| minimum + 8.0 * scale).collect();
        let blocks =
            Blocks::from_codes(Bits::Four, 32, SHAPE, codes, scales, Some(offsets)).unwrap();
        for (at, (got, expected)) in blocks.dequantize().into_iter().zip(expected).enumerate() {
            let (scale, minimum) = parts[at / 32];
            let exact = f64::from(minimum) + 8.0 * f64::from(scale);
            if f64::from(exact as f32) == exact {
                prop_assert_eq!(got, expected);
            } else {
                let largest = minimum.abs().max(15.0 * scale.abs());
                prop_assert!((got - expected).abs() <= 1e-6 * largest, "{got}, not {expected}");
            }
        }
    }

    #[test]
    fn parts_of_another_size_are_refused(
        part in 0usize..3,
        size in 0usize..200,
        bits in prop::sample::select(vec![Bits::Four, Bits::Eight]),
    ) {
        let mut sizes = [bits.bytes(128), 4, 4];
        prop_assume!(sizes[part] != size);
        let blocks = |[quants, scales, offsets]: [usize; 3]| {
            let offsets = Some(vec![0.0; offsets]);
            Blocks::new(bits, 32, SHAPE, vec![0; quants], vec![0.0; scales], offsets)
        };
        prop_assert!(blocks(sizes).is_ok());
        sizes[part] = size;
        let error = blocks(sizes).unwrap_err().to_string();
        let name = ["codes", "scales", "offsets"][part];
        prop_assert!(error.contains(name) && error.contains(&size.to_string()), "{}", error);
    }
}

#[test]
fn blocks_that_no_kernel_knows_are_refused() {
    for (block, columns) in [(0, 64), (8, 64), (48, 96), (32, 80)] {
        let shape = [1, columns];
        let blocks = Blocks::new(Bits::Eight, block, shape, vec![0; columns], vec![0.0; 2], None);
        says(blocks.unwrap_err(), &["power of two", &format!("1 x {columns}")]);
    }
}

#[test]
fn scales_that_are_not_finite_are_refused_where_they_are() {
    let mut scales = vec![1.0; 4];
    scales[3] = f32::NAN;
    let blocks = Blocks::new(Bits::Eight, 32, SHAPE, vec![0; 128], scales, None);
    says(blocks.unwrap_err(), &["row 1, column 32", "NaN"]);
    let offsets = Some(vec![0.0, f32::INFINITY, 0.0, 0.0]);
    let blocks = Blocks::new(Bits::Four, 32, SHAPE, vec![0; 64], vec![1.0; 4], offsets);
    says(blocks.unwrap_err(), &["row 0, column 32", "inf"]);
}
