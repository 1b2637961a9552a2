//! Plain Rust without branches in the loops, which the compiler vectorizes for its target (NEON on
//! aarch64). What it computes is what the codes are.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Kernel;
use crate::block::INT8_MAX;
use crate::codebook::Codebook;
use crate::scale::Normalizer;

/// Adding 1.5 * 2^23 leaves no room for a fraction: the low bits of the sum are the integer that the
/// number rounds to, ties to even.
pub(super) const ROUND_TO_INTEGER: f32 = 12_582_912.0;

/// What turns a code of int8 into its level. Its product with 127 rounds to 1: extremes are kept.
pub(super) const INT8_STEP: f32 = 1.0 / INT8_MAX;

/// The bits of an f32 without its sign.
pub(super) const MAGNITUDE: u32 = 0x7fff_ffff;

/// Values that are worked on together: as many as halves fit the stack comfortably.
const CHUNK: usize = 32;

#[derive(Debug)]
pub(super) struct Portable;

/// The largest magnitude's bits.
pub(super) fn largest_bits(values: &[f32]) -> u32 {
    values.iter().map(|value| value.to_bits() & MAGNITUDE).fold(0, u32::max)
}

pub(super) fn encode_int8(values: &[f32], scale: f32, codes: &mut [u8]) {
    let normalizer = Normalizer::new(scale, INT8_MAX);
    for (value, code) in values.iter().zip(codes) {
        *code = (normalizer.apply(*value) + ROUND_TO_INTEGER).to_bits() as u8;
    }
}

pub(super) fn decode_int8(codes: &[u8], scale: f32, values: &mut [f32]) {
    for (code, value) in codes.iter().zip(values) {
        *value = (f32::from(code.cast_signed()) * INT8_STEP) * scale;
    }
}

pub(super) fn encode_nibbles(book: &Codebook, values: &[f32], scale: f32, codes: &mut [u8]) {
    let normalizer = Normalizer::new(scale, 1.0);
    for (values, codes) in values.chunks(CHUNK).zip(codes.chunks_mut(CHUNK / 2)) {
        let mut numbers = [0.0; CHUNK];
        for (number, value) in numbers.iter_mut().zip(values) {
            *number = normalizer.apply(*value);
        }
        let mut ranks = [0u32; CHUNK];
        for threshold in book.thresholds {
            for (rank, number) in ranks.iter_mut().zip(numbers) {
                *rank += u32::from(number > threshold);
            }
        }
        for (pair, code) in ranks.as_chunks::<2>().0.iter().zip(codes.iter_mut()) {
            let [low, high] = pair.map(|rank| book.code_of_rank[rank as usize & 15]);
            *code = low | high << 4;
        }
        if values.len() % 2 == 1 {
            codes[values.len() / 2] &= 0x0f;
        }
    }
}

pub(super) fn decode_nibbles(book: &Codebook, codes: &[u8], scale: f32, values: &mut [f32]) {
    let scaled = book.levels.map(|level| level * scale);
    for (code, pair) in codes.iter().zip(values.chunks_mut(2)) {
        for (value, code) in pair.iter_mut().zip([code & 15, code >> 4]) {
            *value = scaled[usize::from(code)];
        }
    }
}

pub(super) fn encode_plain(values: &[f32], bytes: &mut [[u8; 4]]) -> u32 {
    for (value, bytes) in values.iter().zip(bytes) {
        *bytes = value.to_le_bytes();
    }
    largest_bits(values)
}

pub(super) fn decode_plain(bytes: &[[u8; 4]], values: &mut [f32]) -> u32 {
    for (bytes, value) in bytes.iter().zip(values.iter_mut()) {
        *value = f32::from_le_bytes(*bytes);
    }
    largest_bits(values)
}

pub(super) fn encode_fp16(values: &[f32], halves: &mut [[u8; 2]]) -> u32 {
    for (values, halves) in values.chunks(CHUNK).zip(halves.chunks_mut(CHUNK)) {
        let mut rounded = [f16::ZERO; CHUNK];
        let rounded = &mut rounded[..values.len()];
        rounded.convert_from_f32_slice(values);
        for (half, rounded) in halves.iter_mut().zip(rounded) {
            *half = rounded.to_le_bytes();
        }
    }
    largest_bits(values)
}

pub(super) fn decode_fp16(halves: &[[u8; 2]], values: &mut [f32]) -> u32 {
    for (halves, values) in halves.chunks(CHUNK).zip(values.chunks_mut(CHUNK)) {
        let mut read = [f16::ZERO; CHUNK];
        let read = &mut read[..halves.len()];
        for (read, half) in read.iter_mut().zip(halves) {
            *read = f16::from_le_bytes(*half);
        }
        read.convert_to_f32_slice(values);
    }
    largest_bits(values)
}

impl Kernel for Portable {
    fn absmax(&self, row: &[f32], block: usize, largest: &mut [f32]) {
        for (values, largest) in row.chunks(block).zip(largest) {
            *largest = f32::from_bits(largest_bits(values));
        }
    }

    fn encode_int8(&self, row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
        let blocks = row.chunks(block).zip(scales).zip(codes.chunks_mut(block));
        for ((values, scale), codes) in blocks {
            encode_int8(values, *scale, codes);
        }
    }

    fn decode_int8(&self, codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
        for ((codes, scale), values) in codes.chunks(block).zip(scales).zip(row.chunks_mut(block)) {
            decode_int8(codes, *scale, values);
        }
    }

    fn encode_nibbles(
        &self,
        book: &Codebook,
        row: &[f32],
        block: usize,
        scales: &[f32],
        codes: &mut [u8],
    ) {
        let blocks = row.chunks(block).zip(scales).zip(codes.chunks_mut(block / 2));
        for ((values, scale), codes) in blocks {
            encode_nibbles(book, values, *scale, codes);
        }
    }

    fn decode_nibbles(
        &self,
        book: &Codebook,
        codes: &[u8],
        block: usize,
        scales: &[f32],
        row: &mut [f32],
    ) {
        let blocks = codes.chunks(block / 2).zip(scales).zip(row.chunks_mut(block));
        for ((codes, scale), values) in blocks {
            decode_nibbles(book, codes, *scale, values);
        }
    }

    fn encode_plain(&self, row: &[f32], bytes: &mut [[u8; 4]]) -> u32 {
        encode_plain(row, bytes)
    }

    fn decode_plain(&self, bytes: &[[u8; 4]], row: &mut [f32]) -> u32 {
        decode_plain(bytes, row)
    }

    fn encode_fp16(&self, row: &[f32], halves: &mut [[u8; 2]]) -> u32 {
        encode_fp16(row, halves)
    }

    fn decode_fp16(&self, halves: &[[u8; 2]], row: &mut [f32]) -> u32 {
        decode_fp16(halves, row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extreme_codes_of_int8_are_the_scale() {
        assert_eq!(127.0 * INT8_STEP, 1.0);
    }
}
