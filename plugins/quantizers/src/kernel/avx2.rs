//! 8 values at a time. A table in a register has 8 entries here, so a rank is found by bisection: four
//! comparisons, each with the threshold that the ones before chose.

use std::arch::x86_64::*;

use super::{Kernel, portable, whole_vectors};
use crate::block::INT8_MAX;
use crate::codebook::Codebook;
use crate::scale::Normalizer;

/// Values of a vector.
const LANES: usize = 8;
/// Values of two vectors, which are packed to bytes together: as many as the smallest block has.
const PAIR: usize = 2 * LANES;

/// Exists only where the processor has AVX2 and F16C.
#[derive(Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    pub fn detect() -> Option<&'static dyn Kernel> {
        let detected = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
        detected.then_some(&Self(()))
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[f32; LANES]) -> __m256 {
    // SAFETY: 8 values are what is read, and no alignment is asked for.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(vector: __m256, values: &mut [f32; LANES]) {
    // SAFETY: 8 values are what is written, and no alignment is asked for.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_bytes(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: 16 bytes are what is read, and no alignment is asked for.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_bytes(vector: __m128i, bytes: &mut [u8; 16]) {
    // SAFETY: 16 bytes are what is written, and no alignment is asked for.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_pair(values: &[f32; PAIR]) -> [__m256; 2] {
    let at = values.as_ptr();
    // SAFETY: twice 8 values are what is read, and no alignment is asked for.
    unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(LANES))] }
}

/// The lanes of two vectors, which are at most 255, as bytes in their order.
#[target_feature(enable = "avx2")]
#[inline]
fn pack(a: __m256i, b: __m256i) -> __m128i {
    // Packing works within halves of a register: the low halves of both come first.
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b));
    _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
}

#[target_feature(enable = "avx2")]
#[inline]
fn normalize(values: __m256, prescale: __m256, inverse: __m256) -> __m256 {
    _mm256_mul_ps(_mm256_mul_ps(values, prescale), inverse)
}

/// The largest lane.
#[target_feature(enable = "avx2")]
#[inline]
fn reduce_max(vector: __m256i) -> u32 {
    let four = _mm_max_epu32(_mm256_castsi256_si128(vector), _mm256_extracti128_si256::<1>(vector));
    let two = _mm_max_epu32(four, _mm_unpackhi_epi64(four, four));
    let one = _mm_max_epu32(two, _mm_shuffle_epi32::<1>(two));
    _mm_cvtsi128_si32(one).cast_unsigned()
}

/// The bits of the magnitudes.
#[target_feature(enable = "avx2")]
#[inline]
fn magnitude(values: __m256) -> __m256i {
    let mask = _mm256_set1_epi32(portable::MAGNITUDE as i32);
    _mm256_and_si256(_mm256_castps_si256(values), mask)
}

#[target_feature(enable = "avx2")]
fn absmax(row: &[f32], block: usize, largest: &mut [f32]) {
    for (values, largest) in row.chunks(block).zip(largest) {
        let (pairs, tail) = values.as_chunks();
        let mut most = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for pair in pairs {
            let [a, b] = load_pair(pair);
            most.0 = _mm256_max_epu32(most.0, magnitude(a));
            most.1 = _mm256_max_epu32(most.1, magnitude(b));
        }
        let most = reduce_max(_mm256_max_epu32(most.0, most.1));
        *largest = f32::from_bits(most.max(portable::largest_bits(tail)));
    }
}

#[target_feature(enable = "avx2")]
fn encode_int8(row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
    let round = _mm256_set1_ps(portable::ROUND_TO_INTEGER);
    let low_byte = _mm256_set1_epi32(0xff);
    let (body, tail) = row.split_at(whole_vectors(row.len()));
    let (codes, rest) = codes.split_at_mut(body.len());
    let blocks = body.chunks(block).zip(scales).zip(codes.chunks_mut(block));
    for ((values, &scale), codes) in blocks {
        let normalizer = Normalizer::new(scale, INT8_MAX);
        let prescale = _mm256_set1_ps(normalizer.prescale);
        let inverse = _mm256_set1_ps(normalizer.inverse);
        for (pair, packed) in values.as_chunks().0.iter().zip(codes.as_chunks_mut().0) {
            let [a, b] = load_pair(pair);
            let a = _mm256_add_ps(normalize(a, prescale, inverse), round);
            let b = _mm256_add_ps(normalize(b, prescale, inverse), round);
            let a = _mm256_and_si256(_mm256_castps_si256(a), low_byte);
            let b = _mm256_and_si256(_mm256_castps_si256(b), low_byte);
            store_bytes(pack(a, b), packed);
        }
    }
    if let Some(&scale) = scales.last() {
        portable::encode_int8(tail, scale, rest);
    }
}

#[target_feature(enable = "avx2")]
fn decode_int8(codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
    let step = _mm256_set1_ps(portable::INT8_STEP);
    let (body, tail) = row.split_at_mut(whole_vectors(codes.len()));
    let (codes, rest) = codes.split_at(body.len());
    for ((codes, scale), values) in codes.chunks(block).zip(scales).zip(body.chunks_mut(block)) {
        let scale = _mm256_set1_ps(*scale);
        for (packed, vector) in codes.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
            let bytes = _mm_cvtsi64_si128(i64::from_le_bytes(*packed));
            let codes = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
            store(_mm256_mul_ps(_mm256_mul_ps(codes, step), scale), vector);
        }
    }
    if let Some(scale) = scales.last() {
        portable::decode_int8(rest, *scale, tail);
    }
}

/// The thresholds of each step of the bisection.
struct Bisection {
    first: __m256,
    others: [__m256; 3],
}

impl Bisection {
    #[target_feature(enable = "avx2")]
    fn new(thresholds: &[f32; 15]) -> Self {
        let every = |from: usize, step: usize| {
            let mut table = [f32::INFINITY; LANES];
            for (entry, threshold) in
                table.iter_mut().zip(thresholds.iter().skip(from).step_by(step))
            {
                *entry = *threshold;
            }
            load(&table)
        };
        Self {
            first: _mm256_set1_ps(thresholds[7]),
            others: [every(3, 8), every(1, 4), every(0, 2)],
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn ranks(&self, numbers: __m256) -> __m256i {
        let above =
            |threshold| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(numbers, threshold));
        // A comparison that holds is -1.
        let mut ranks = _mm256_sub_epi32(_mm256_setzero_si256(), above(self.first));
        for thresholds in self.others {
            let threshold = _mm256_permutevar8x32_ps(thresholds, ranks);
            ranks = _mm256_sub_epi32(_mm256_add_epi32(ranks, ranks), above(threshold));
        }
        ranks
    }
}

#[target_feature(enable = "avx2")]
fn encode_nibbles(book: &Codebook, row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
    let bisection = Bisection::new(&book.thresholds);
    let code_of_rank = load_bytes(&book.code_of_rank);
    // The first of a pair times 1, the second times 16.
    let join = _mm_set1_epi16(0x1001);
    let (body, tail) = row.split_at(whole_vectors(row.len()));
    let (codes, rest) = codes.split_at_mut(body.len() / 2);
    let blocks = body.chunks(block).zip(scales).zip(codes.chunks_mut(block / 2));
    for ((values, &scale), codes) in blocks {
        let normalizer = Normalizer::new(scale, 1.0);
        let prescale = _mm256_set1_ps(normalizer.prescale);
        let inverse = _mm256_set1_ps(normalizer.inverse);
        for (pair, packed) in values.as_chunks().0.iter().zip(codes.as_chunks_mut().0) {
            let [a, b] = load_pair(pair);
            let a = bisection.ranks(normalize(a, prescale, inverse));
            let b = bisection.ranks(normalize(b, prescale, inverse));
            let ranks = pack(a, b);
            let words = _mm_maddubs_epi16(_mm_shuffle_epi8(code_of_rank, ranks), join);
            *packed = _mm_cvtsi128_si64(_mm_packus_epi16(words, words)).to_le_bytes();
        }
    }
    if let Some(&scale) = scales.last() {
        portable::encode_nibbles(book, tail, scale, rest);
    }
}

#[target_feature(enable = "avx2")]
fn decode_nibbles(book: &Codebook, codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
    let levels = load_pair(&book.levels);
    let (body, tail) = row.split_at_mut(whole_vectors(row.len()));
    let (codes, rest) = codes.split_at(body.len() / 2);
    let blocks = codes.chunks(block / 2).zip(scales).zip(body.chunks_mut(block));
    for ((codes, scale), values) in blocks {
        let scale = _mm256_set1_ps(*scale);
        let low_levels = _mm256_mul_ps(levels[0], scale);
        let high_levels = _mm256_mul_ps(levels[1], scale);
        for (packed, vector) in codes.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
            // Byte i in 64 bits: its low nibble is where lane 2i begins, and 28 bits up its high
            // nibble is where lane 2i + 1 begins. The permutations read three bits of a lane, and
            // the fourth, moved to the sign, chooses between them.
            let pairs = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(i32::from_le_bytes(*packed)));
            let nibbles = _mm256_or_si256(pairs, _mm256_slli_epi64::<28>(pairs));
            let low = _mm256_permutevar8x32_ps(low_levels, nibbles);
            let high = _mm256_permutevar8x32_ps(high_levels, nibbles);
            let choice = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(nibbles));
            store(_mm256_blendv_ps(low, high, choice), vector);
        }
    }
    if let Some(scale) = scales.last() {
        portable::decode_nibbles(book, rest, *scale, tail);
    }
}

#[target_feature(enable = "avx2")]
fn encode_plain(row: &[f32], bytes: &mut [[u8; 4]]) -> u32 {
    let (vectors, tail) = row.as_chunks();
    let (packed, rest) = bytes.as_chunks_mut::<LANES>();
    let mut most = _mm256_setzero_si256();
    for (vector, packed) in vectors.iter().zip(packed) {
        let values = load(vector);
        most = _mm256_max_epu32(most, magnitude(values));
        // SAFETY: 8 times 4 bytes are what is written, and no alignment is asked for.
        unsafe { _mm256_storeu_ps(packed.as_mut_ptr().cast(), values) }
    }
    reduce_max(most).max(portable::encode_plain(tail, rest))
}

#[target_feature(enable = "avx2")]
fn decode_plain(bytes: &[[u8; 4]], row: &mut [f32]) -> u32 {
    let (packed, rest) = bytes.as_chunks::<LANES>();
    let (vectors, tail) = row.as_chunks_mut();
    let mut most = _mm256_setzero_si256();
    for (packed, vector) in packed.iter().zip(vectors) {
        // SAFETY: 8 times 4 bytes are what is read, and no alignment is asked for.
        let values = unsafe { _mm256_loadu_ps(packed.as_ptr().cast()) };
        most = _mm256_max_epu32(most, magnitude(values));
        store(values, vector);
    }
    reduce_max(most).max(portable::decode_plain(rest, tail))
}

#[target_feature(enable = "avx2,f16c")]
fn encode_fp16(row: &[f32], halves: &mut [[u8; 2]]) -> u32 {
    let (vectors, tail) = row.as_chunks();
    let (packed, rest) = halves.as_chunks_mut::<LANES>();
    let mut most = _mm256_setzero_si256();
    for (vector, packed) in vectors.iter().zip(packed) {
        let values = load(vector);
        most = _mm256_max_epu32(most, magnitude(values));
        let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
        // SAFETY: 8 halves are what is written, and no alignment is asked for.
        unsafe { _mm_storeu_si128(packed.as_mut_ptr().cast(), rounded) }
    }
    reduce_max(most).max(portable::encode_fp16(tail, rest))
}

#[target_feature(enable = "avx2,f16c")]
fn decode_fp16(halves: &[[u8; 2]], row: &mut [f32]) -> u32 {
    let (packed, rest) = halves.as_chunks::<LANES>();
    let (vectors, tail) = row.as_chunks_mut();
    let mut most = _mm256_setzero_si256();
    for (packed, vector) in packed.iter().zip(vectors) {
        // SAFETY: 8 halves are what is read, and no alignment is asked for.
        let values = _mm256_cvtph_ps(unsafe { _mm_loadu_si128(packed.as_ptr().cast()) });
        most = _mm256_max_epu32(most, magnitude(values));
        store(values, vector);
    }
    reduce_max(most).max(portable::decode_fp16(rest, tail))
}

impl Kernel for Avx2 {
    fn absmax(&self, row: &[f32], block: usize, largest: &mut [f32]) {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { absmax(row, block, largest) }
    }

    fn encode_int8(&self, row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { encode_int8(row, block, scales, codes) }
    }

    fn decode_int8(&self, codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { decode_int8(codes, block, scales, row) }
    }

    fn encode_nibbles(
        &self,
        book: &Codebook,
        row: &[f32],
        block: usize,
        scales: &[f32],
        codes: &mut [u8],
    ) {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { encode_nibbles(book, row, block, scales, codes) }
    }

    fn decode_nibbles(
        &self,
        book: &Codebook,
        codes: &[u8],
        block: usize,
        scales: &[f32],
        row: &mut [f32],
    ) {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { decode_nibbles(book, codes, block, scales, row) }
    }

    fn encode_plain(&self, row: &[f32], bytes: &mut [[u8; 4]]) -> u32 {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { encode_plain(row, bytes) }
    }

    fn decode_plain(&self, bytes: &[[u8; 4]], row: &mut [f32]) -> u32 {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { decode_plain(bytes, row) }
    }

    fn encode_fp16(&self, row: &[f32], halves: &mut [[u8; 2]]) -> u32 {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { encode_fp16(row, halves) }
    }

    fn decode_fp16(&self, halves: &[[u8; 2]], row: &mut [f32]) -> u32 {
        // SAFETY: `self` exists only where AVX2 and F16C were detected.
        unsafe { decode_fp16(halves, row) }
    }
}
