//! Every kernel equals the portable one, bit for bit.

use proptest::prelude::*;

use super::portable::Portable;
use super::{Kernel, available};
use crate::codebook::{BUCKETS_PER_UNIT, Codebook, FP4, NF4};

/// A row of a regime: its magnitudes lie around a power of two, and zeros are mixed in.
fn row() -> impl Strategy<Value = Vec<f32>> {
    (0usize..300, -149i32..=127).prop_flat_map(|(hidden, exponent)| {
        let value = prop_oneof![
            8 => (-2.0f32..2.0).prop_map(move |x| {
                ((f64::from(x) * 2f64.powi(exponent)) as f32).clamp(f32::MIN, f32::MAX)
            }),
            1 => Just(0.0f32),
            1 => Just(-0.0f32),
        ];
        proptest::collection::vec(value, hidden)
    })
}

fn block() -> impl Strategy<Value = usize> {
    (4u32..=7).prop_map(|exponent| 1 << exponent)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn absmax(kernel: &dyn Kernel, row: &[f32], block: usize) -> Vec<f32> {
    let mut largest = vec![f32::NAN; row.len().div_ceil(block)];
    kernel.absmax(row, block, &mut largest);
    largest
}

fn nibbles(kernel: &dyn Kernel, book: &Codebook, row: &[f32], block: usize) -> Vec<u8> {
    let mut codes = vec![0xaa; row.len().div_ceil(2)];
    kernel.encode_nibbles(book, row, block, &absmax(&Portable, row, block), &mut codes);
    codes
}

proptest! {
    #[test]
    fn absmax_is_portable(row in row(), block in block()) {
        for kernel in available() {
            let (expected, got) = (absmax(&Portable, &row, block), absmax(kernel, &row, block));
            prop_assert_eq!(bits(&got), bits(&expected), "{:?}", kernel);
        }
    }

    #[test]
    fn nibbles_are_portable(row in row(), block in block()) {
        for (kernel, book) in available().flat_map(|kernel| [(kernel, &NF4), (kernel, &FP4)]) {
            let codes = nibbles(&Portable, book, &row, block);
            prop_assert_eq!(&nibbles(kernel, book, &row, block), &codes, "{:?}", kernel);

            let scales = absmax(&Portable, &row, block);
            let mut decoded = [vec![f32::NAN; row.len()], vec![f32::NAN; row.len()]];
            Portable.decode_nibbles(book, &codes, block, &scales, &mut decoded[0]);
            kernel.decode_nibbles(book, &codes, block, &scales, &mut decoded[1]);
            prop_assert_eq!(bits(&decoded[1]), bits(&decoded[0]), "{:?}", kernel);
        }
    }

    #[test]
    fn int8_is_portable(row in row(), block in block()) {
        let scales = absmax(&Portable, &row, block);
        for kernel in available() {
            let mut codes = [vec![0xaa; row.len()], vec![0x55; row.len()]];
            Portable.encode_int8(&row, block, &scales, &mut codes[0]);
            kernel.encode_int8(&row, block, &scales, &mut codes[1]);
            prop_assert_eq!(&codes[1], &codes[0], "{:?}", kernel);

            let mut decoded = [vec![f32::NAN; row.len()], vec![f32::NAN; row.len()]];
            Portable.decode_int8(&codes[0], block, &scales, &mut decoded[0]);
            kernel.decode_int8(&codes[0], block, &scales, &mut decoded[1]);
            prop_assert_eq!(bits(&decoded[1]), bits(&decoded[0]), "{:?}", kernel);
        }
    }

    #[test]
    fn fp16_is_portable(row in row()) {
        for kernel in available() {
            let mut halves = [vec![[0xaa; 2]; row.len()], vec![[0x55; 2]; row.len()]];
            let expected = Portable.encode_fp16(&row, &mut halves[0]);
            prop_assert_eq!(kernel.encode_fp16(&row, &mut halves[1]), expected, "{:?}", kernel);
            prop_assert_eq!(&halves[1], &halves[0], "{:?}", kernel);
        }
    }

    #[test]
    fn plain_is_portable(row in row()) {
        for kernel in available() {
            let mut bytes = [vec![[0xaa; 4]; row.len()], vec![[0x55; 4]; row.len()]];
            let expected = Portable.encode_plain(&row, &mut bytes[0]);
            prop_assert_eq!(kernel.encode_plain(&row, &mut bytes[1]), expected, "{:?}", kernel);
            prop_assert_eq!(&bytes[1], &bytes[0], "{:?}", kernel);

            let mut decoded = vec![f32::NAN; row.len()];
            prop_assert_eq!(kernel.decode_plain(&bytes[0], &mut decoded), expected, "{:?}", kernel);
            prop_assert_eq!(bits(&decoded), bits(&row), "{:?}", kernel);
        }
    }
}

#[test]
fn all_halves_decode_alike() {
    let halves: Vec<_> = (0..=u16::MAX).map(u16::to_le_bytes).collect();
    // A vector of each sixteen, and parts that fill none.
    for halves in halves.chunks(16).chain(halves.chunks(7)) {
        let mut expected = vec![0.0; halves.len()];
        let largest = Portable.decode_fp16(halves, &mut expected);
        for kernel in available() {
            let mut decoded = vec![0.0; halves.len()];
            assert_eq!(kernel.decode_fp16(halves, &mut decoded), largest, "{kernel:?}");
            assert_eq!(bits(&decoded), bits(&expected), "{kernel:?}");
        }
    }
}

#[test]
fn all_nibbles_decode_alike() {
    let codes: Vec<_> = (0..=u8::MAX).collect();
    for book in [&NF4, &FP4] {
        let mut expected = vec![0.0; 512];
        Portable.decode_nibbles(book, &codes, 512, &[3.0], &mut expected);
        for kernel in available() {
            let mut decoded = vec![0.0; 512];
            kernel.decode_nibbles(book, &codes, 512, &[3.0], &mut decoded);
            assert_eq!(bits(&decoded), bits(&expected), "{kernel:?}");
        }
    }
}

/// Random values rarely hit a threshold or the edge of a bucket: here are their neighbours.
#[test]
fn numbers_at_thresholds_and_edges_are_encoded_alike() {
    for book in [&NF4, &FP4] {
        let edges = (-16..16).map(|edge| (edge as f32 + 0.5) / BUCKETS_PER_UNIT);
        let at = book.thresholds.into_iter().chain(book.levels).chain(edges);
        let mut row = vec![1.0];
        for number in at.filter(|number| number.abs() <= 1.0) {
            let mut near = (0..8).fold(number, |near, _| near.next_down());
            for _ in 0..16 {
                row.push(near.clamp(-1.0, 1.0));
                near = near.next_up();
            }
        }
        row.resize(row.len().next_power_of_two(), 0.0);
        let expected = nibbles(&Portable, book, &row, row.len());
        for (i, &number) in row.iter().enumerate() {
            let code = expected[i / 2] >> (i % 2 * 4) & 15;
            assert_eq!(code, book.code_of_rank[book.rank(number)], "{number}");
        }
        for kernel in available() {
            assert_eq!(nibbles(kernel, book, &row, row.len()), expected, "{kernel:?}");
        }
    }
}

#[test]
fn what_is_not_finite_shows_in_absmax() {
    for kernel in available() {
        for (column, value) in [(0, f32::NAN), (17, f32::INFINITY), (40, f32::NEG_INFINITY)] {
            let mut row = vec![f32::MAX; 41];
            row[column] = value;
            let largest = absmax(kernel, &row, 64)[0];
            assert!(!largest.is_finite(), "{kernel:?} missed {value}");
        }
    }
}
