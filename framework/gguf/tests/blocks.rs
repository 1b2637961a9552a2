//! Laws of blocks: they decode as a naive reading of the format does, and what is handed on as
//! `MatMulNBits` order has the same values.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use half::f16;
use mobillm_gguf::fixture::GgufBuilder;
use mobillm_gguf::{Blocks, Gguf, TensorInfo, TensorType};
use proptest::prelude::*;

const QUANTIZED: [TensorType; 5] =
    [TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q4K, TensorType::Q6K];

/// Value `index` of a block, by the book: one value at a time.
fn naive(kind: TensorType, block: &[u8], index: usize) -> f32 {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let nibble =
        |at: usize, upper: bool| f32::from(if upper { block[at] / 16 } else { block[at] % 16 });
    match kind {
        TensorType::Q8_0 => f32::from(block[2 + index] as i8) * half(0),
        TensorType::Q4_0 => (nibble(2 + index % 16, index >= 16) - 8.0) * half(0),
        TensorType::Q4_1 => nibble(4 + index % 16, index >= 16) * half(0) + half(2),
        TensorType::Q4K => {
            // Eight scales of 6 bits, then eight minima, as 12 bytes.
            let packed = &block[4..16];
            let group = index / 32;
            let (scale, minimum) = match group {
                0..4 => (packed[group] % 64, packed[group + 4] % 64),
                _ => (
                    packed[group + 4] % 16 + packed[group - 4] / 64 * 16,
                    packed[group + 4] / 16 + packed[group] / 64 * 16,
                ),
            };
            let code = nibble(16 + index / 64 * 32 + index % 32, group % 2 == 1);
            code * (half(0) * f32::from(scale)) - half(2) * f32::from(minimum)
        }
        TensorType::Q6K => {
            let (part, at) = (index / 128, index % 128);
            let low = block[part * 64 + at % 64] >> if at < 64 { 0 } else { 4 };
            let high = block[128 + part * 32 + at % 32] >> (at / 32 * 2);
            let code = i32::from(low % 16) + i32::from(high % 4) * 16 - 32;
            let scale = f32::from(block[192 + index / 16] as i8);
            code as f32 * (half(208) * scale)
        }
        _ => unreachable!("only quantized types have blocks"),
    }
}

/// Value `index` of a matrix, as the docs of [`Blocks`] say.
fn value(blocks: &Blocks, index: usize) -> f64 {
    let (code, zero) = match blocks.bits {
        4 => (blocks.quants[index / 2] >> (index % 2 * 4) & 15, 8.0),
        _ => (blocks.quants[index], 128.0),
    };
    let block = index / blocks.block;
    let offset = blocks.offsets.as_ref().map_or(0.0, |offsets| f64::from(offsets[block]));
    (f64::from(code) - zero) * f64::from(blocks.scales[block]) + offset
}

/// Bytes of `[rows, blocks]` blocks whose half-precision numbers are finite.
fn blocks(kind: TensorType) -> impl Strategy<Value = ([usize; 2], Vec<u8>)> {
    let block =
        prop::collection::vec(any::<u8>(), kind.block_bytes()).prop_map(move |mut block| {
            let halves = match kind {
                TensorType::Q4_1 | TensorType::Q4K => &[0, 2][..],
                TensorType::Q6K => &[208],
                _ => &[0],
            };
            halves.iter().for_each(|at| block[at + 1] &= 0xbf);
            block
        });
    (1..4_usize, 1..4_usize).prop_flat_map(move |(rows, across)| {
        prop::collection::vec(block.clone(), rows * across)
            .prop_map(move |blocks| ([rows, across * kind.block_values()], blocks.concat()))
    })
}

fn read<T>(
    kind: TensorType,
    shape: &[usize],
    bytes: &[u8],
    read: impl FnOnce(&TensorInfo, &[u8]) -> T,
) -> T {
    let file = GgufBuilder::new().tensor("tensor", shape, kind, bytes).build();
    read(&Gguf::parse(&file).unwrap().tensors()[0], &file)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_are_those_of_a_naive_reading(
        (kind, (shape, bytes)) in prop::sample::select(&QUANTIZED[..])
            .prop_flat_map(|kind| (Just(kind), blocks(kind)))
    ) {
        let got = read(kind, &shape, &bytes, |tensor, file| tensor.read_f32(file).unwrap());
        let each = bytes.chunks_exact(kind.block_bytes());
        let expected = each.flat_map(|block| (0..kind.block_values()).map(|index| naive(kind, block, index)));
        let bits = |value: f32| value.to_bits();
        prop_assert!(got.into_iter().map(bits).eq(expected.map(bits)), "{kind}");
    }

    #[test]
    fn blocks_hold_the_same_values(
        (kind, (shape, bytes)) in prop::sample::select(&QUANTIZED[..])
            .prop_flat_map(|kind| (Just(kind), blocks(kind)))
    ) {
        let values = read(kind, &shape, &bytes, |tensor, file| tensor.read_f32(file).unwrap());
        let blocks = read(kind, &shape, &bytes, |tensor, file| tensor.read_blocks(file).unwrap()).unwrap();
        prop_assert_eq!([blocks.rows, blocks.columns], shape);
        prop_assert_eq!(blocks.scales.len() * blocks.block, values.len());
        for (index, &expected) in values.iter().enumerate() {
            let got = value(&blocks, index);
            // Without offsets products are exact in f64 and round to the very value.
            let offset = blocks.offsets.as_ref().map(|offsets| offsets[index / blocks.block]);
            let scale = blocks.scales[index / blocks.block];
            let tolerance = offset.map_or(0.0, |offset| {
                2.0 * f64::from(f32::EPSILON) * f64::from(offset.abs() + 16.0 * scale.abs())
            });
            let got = if offset.is_none() { f64::from(got as f32) } else { got };
            prop_assert!((got - f64::from(expected)).abs() <= tolerance, "{kind} {index}: {got} {expected}");
        }
    }
}

#[test]
fn floats_have_no_blocks() {
    for kind in [TensorType::F32, TensorType::F16, TensorType::Bf16] {
        let bytes = vec![0; 6 * kind.block_bytes()];
        let blocks = read(kind, &[2, 3], &bytes, |tensor, file| tensor.read_blocks(file).unwrap());
        assert_eq!(blocks, None);
    }
}

#[test]
fn floats_are_widened_as_they_are() {
    let numbers = [0.0_f32, -0.0, 1.5, -65504.0, 6.1e-5];
    let bytes: Vec<u8> = numbers.iter().flat_map(|value| value.to_le_bytes()).collect();
    let got = read(TensorType::F32, &[5], &bytes, |tensor, file| tensor.read_f32(file).unwrap());
    assert_eq!(got.map_bits(), numbers.to_vec().map_bits());

    let bytes: Vec<u8> =
        numbers.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let got = read(TensorType::F16, &[5], &bytes, |tensor, file| tensor.read_f32(file).unwrap());
    let expected: Vec<f32> = numbers.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
    assert_eq!(got.map_bits(), expected.map_bits());

    let bytes: Vec<u8> = [0x3f80_u16, 0xc040].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let got = read(TensorType::Bf16, &[2], &bytes, |tensor, file| tensor.read_f32(file).unwrap());
    assert_eq!(got, [1.0, -3.0]);
}

trait MapBits {
    fn map_bits(self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(self) -> Vec<u32> {
        self.into_iter().map(f32::to_bits).collect()
    }
}
