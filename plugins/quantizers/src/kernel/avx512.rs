//! 16 values at a time, with tables in registers: a `vpermt2ps` looks 16 of 32 entries up at once.

use std::arch::x86_64::*;

use super::{Kernel, portable, whole_vectors};
use crate::block::INT8_MAX;
use crate::codebook::{BUCKETS_PER_UNIT, Codebook, ZERO_BUCKET};
use crate::scale::Normalizer;

/// Values of a vector: as many as the smallest block has.
const LANES: usize = 16;

/// Exists only where the processor has AVX-512F.
#[derive(Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    pub fn detect() -> Option<&'static dyn Kernel> {
        is_x86_feature_detected!("avx512f").then_some(&Self(()))
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32; LANES]) -> __m512 {
    // SAFETY: 16 values are what is read, and no alignment is asked for.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(vector: __m512, values: &mut [f32; LANES]) {
    // SAFETY: 16 values are what is written, and no alignment is asked for.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_bytes(bytes: &[u8; LANES]) -> __m128i {
    // SAFETY: 16 bytes are what is read, and no alignment is asked for.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store_bytes(vector: __m128i, bytes: &mut [u8; LANES]) {
    // SAFETY: 16 bytes are what is written, and no alignment is asked for.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

/// Two registers as one table of 32 floats.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_table(table: &[f32; 2 * LANES]) -> (__m512, __m512) {
    // SAFETY: twice 16 values are what is read, and no alignment is asked for.
    unsafe { (_mm512_loadu_ps(table.as_ptr()), _mm512_loadu_ps(table.as_ptr().add(LANES))) }
}

/// Two registers as one table of 32 integers.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_integer_table(table: &[i32; 2 * LANES]) -> (__m512i, __m512i) {
    // SAFETY: twice 16 integers are what is read, and no alignment is asked for.
    unsafe { (_mm512_loadu_epi32(table.as_ptr()), _mm512_loadu_epi32(table.as_ptr().add(LANES))) }
}

#[target_feature(enable = "avx512f")]
fn absmax(row: &[f32], block: usize, largest: &mut [f32]) {
    for (values, largest) in row.chunks(block).zip(largest) {
        let (fours, rest) = values.as_chunks::<{ 4 * LANES }>();
        let (vectors, tail) = rest.as_chunks();
        // Four independent chains: one would wait for itself.
        let mut most = [_mm512_setzero_si512(); 4];
        for four in fours {
            for (most, vector) in most.iter_mut().zip(four.as_chunks().0) {
                *most = _mm512_max_epu32(*most, magnitude(load(vector)));
            }
        }
        for (most, vector) in most.iter_mut().zip(vectors) {
            *most = _mm512_max_epu32(*most, magnitude(load(vector)));
        }
        let [a, b, c, d] = most;
        let most = _mm512_max_epu32(_mm512_max_epu32(a, b), _mm512_max_epu32(c, d));
        let most = _mm512_reduce_max_epu32(most).max(portable::largest_bits(tail));
        *largest = f32::from_bits(most);
    }
}

/// The bits of the magnitudes.
#[target_feature(enable = "avx512f")]
#[inline]
fn magnitude(values: __m512) -> __m512i {
    let mask = _mm512_set1_epi32(portable::MAGNITUDE as i32);
    _mm512_and_si512(_mm512_castps_si512(values), mask)
}

#[target_feature(enable = "avx512f")]
fn encode_int8(row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
    let round = _mm512_set1_ps(portable::ROUND_TO_INTEGER);
    let (body, tail) = row.split_at(whole_vectors(row.len()));
    let (codes, rest) = codes.split_at_mut(body.len());
    let blocks = body.chunks(block).zip(scales).zip(codes.chunks_mut(block));
    for ((values, &scale), codes) in blocks {
        let normalizer = Normalizer::new(scale, INT8_MAX);
        let prescale = _mm512_set1_ps(normalizer.prescale);
        let inverse = _mm512_set1_ps(normalizer.inverse);
        for (vector, packed) in values.as_chunks().0.iter().zip(codes.as_chunks_mut().0) {
            let numbers = _mm512_mul_ps(_mm512_mul_ps(load(vector), prescale), inverse);
            let rounded = _mm512_castps_si512(_mm512_add_ps(numbers, round));
            store_bytes(_mm512_cvtepi32_epi8(rounded), packed);
        }
    }
    if let Some(&scale) = scales.last() {
        portable::encode_int8(tail, scale, rest);
    }
}

#[target_feature(enable = "avx512f")]
fn decode_int8(codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
    let step = _mm512_set1_ps(portable::INT8_STEP);
    let (body, tail) = row.split_at_mut(whole_vectors(codes.len()));
    let (codes, rest) = codes.split_at(body.len());
    for ((codes, scale), values) in codes.chunks(block).zip(scales).zip(body.chunks_mut(block)) {
        let scale = _mm512_set1_ps(*scale);
        for (packed, vector) in codes.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
            let codes = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_bytes(packed)));
            store(_mm512_mul_ps(_mm512_mul_ps(codes, step), scale), vector);
        }
    }
    if let Some(scale) = scales.last() {
        portable::decode_int8(rest, *scale, tail);
    }
}

/// Truth table of `if first { second } else { third }`.
const BIT_SELECT: i32 = 0b1100_1010;

#[target_feature(enable = "avx512f")]
fn encode_nibbles(book: &Codebook, row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
    let thresholds = load_table(&book.bucket_thresholds);
    let bucket_codes = load_integer_table(&book.bucket_codes);
    let per_unit = _mm512_set1_ps(BUCKETS_PER_UNIT);
    // Rounded to an integer, the low five bits of the sum are the bucket.
    let to_bucket = _mm512_set1_ps(portable::ROUND_TO_INTEGER + ZERO_BUCKET as f32);
    let low_nibble = _mm512_set1_epi64(0x0f);
    let (body, tail) = row.split_at(whole_vectors(row.len()));
    let (codes, rest) = codes.split_at_mut(body.len() / 2);
    let blocks = body.chunks(block).zip(scales).zip(codes.chunks_mut(block / 2));
    for ((values, &scale), codes) in blocks {
        let normalizer = Normalizer::new(scale, 1.0);
        let prescale = _mm512_set1_ps(normalizer.prescale);
        let inverse = _mm512_set1_ps(normalizer.inverse);
        for (vector, packed) in values.as_chunks().0.iter().zip(codes.as_chunks_mut().0) {
            let numbers = _mm512_mul_ps(_mm512_mul_ps(load(vector), prescale), inverse);
            let buckets = _mm512_castps_si512(_mm512_fmadd_ps(numbers, per_unit, to_bucket));
            let threshold = _mm512_permutex2var_ps(thresholds.0, buckets, thresholds.1);
            let codes = _mm512_permutex2var_epi32(bucket_codes.0, buckets, bucket_codes.1);
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(numbers, threshold);
            let codes = _mm512_mask_srli_epi32::<4>(codes, above, codes);
            // Of each 64 bits, the low byte takes the even lane's nibble and the odd lane's.
            let odd = _mm512_srli_epi64::<28>(codes);
            let pairs = _mm512_ternarylogic_epi64::<BIT_SELECT>(low_nibble, codes, odd);
            *packed = _mm_cvtsi128_si64(_mm512_cvtepi64_epi8(pairs)).to_le_bytes();
        }
    }
    if let Some(&scale) = scales.last() {
        portable::encode_nibbles(book, tail, scale, rest);
    }
}

#[target_feature(enable = "avx512f")]
fn decode_nibbles(book: &Codebook, codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
    let levels = load(&book.levels);
    let (body, tail) = row.split_at_mut(whole_vectors(row.len()));
    let (codes, rest) = codes.split_at(body.len() / 2);
    let blocks = codes.chunks(block / 2).zip(scales).zip(body.chunks_mut(block));
    for ((codes, scale), values) in blocks {
        let scaled = _mm512_mul_ps(levels, _mm512_set1_ps(*scale));
        for (packed, vector) in codes.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
            let bytes = _mm_cvtsi64_si128(i64::from_le_bytes(*packed));
            // Byte i in 64 bits: its low nibble is where lane 2i begins, and 28 bits up its high
            // nibble is where lane 2i + 1 begins. The permutation reads four bits of a lane.
            let pairs = _mm512_cvtepu8_epi64(bytes);
            let nibbles = _mm512_or_si512(pairs, _mm512_slli_epi64::<28>(pairs));
            store(_mm512_permutexvar_ps(nibbles, scaled), vector);
        }
    }
    if let Some(scale) = scales.last() {
        portable::decode_nibbles(book, rest, *scale, tail);
    }
}

#[target_feature(enable = "avx512f")]
fn encode_plain(row: &[f32], bytes: &mut [[u8; 4]]) -> u32 {
    let (vectors, tail) = row.as_chunks();
    let (packed, rest) = bytes.as_chunks_mut::<LANES>();
    let mut most = _mm512_setzero_si512();
    for (vector, packed) in vectors.iter().zip(packed) {
        let values = load(vector);
        most = _mm512_max_epu32(most, magnitude(values));
        // SAFETY: 16 times 4 bytes are what is written, and no alignment is asked for.
        unsafe { _mm512_storeu_ps(packed.as_mut_ptr().cast(), values) }
    }
    _mm512_reduce_max_epu32(most).max(portable::encode_plain(tail, rest))
}

#[target_feature(enable = "avx512f")]
fn decode_plain(bytes: &[[u8; 4]], row: &mut [f32]) -> u32 {
    let (packed, rest) = bytes.as_chunks::<LANES>();
    let (vectors, tail) = row.as_chunks_mut();
    let mut most = _mm512_setzero_si512();
    for (packed, vector) in packed.iter().zip(vectors) {
        // SAFETY: 16 times 4 bytes are what is read, and no alignment is asked for.
        let values = unsafe { _mm512_loadu_ps(packed.as_ptr().cast()) };
        most = _mm512_max_epu32(most, magnitude(values));
        store(values, vector);
    }
    _mm512_reduce_max_epu32(most).max(portable::decode_plain(rest, tail))
}

#[target_feature(enable = "avx512f")]
fn encode_fp16(row: &[f32], halves: &mut [[u8; 2]]) -> u32 {
    let (vectors, tail) = row.as_chunks();
    let (packed, rest) = halves.as_chunks_mut::<LANES>();
    let mut most = _mm512_setzero_si512();
    for (vector, packed) in vectors.iter().zip(packed) {
        let values = load(vector);
        most = _mm512_max_epu32(most, magnitude(values));
        let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
        // SAFETY: 16 halves are what is written, and no alignment is asked for.
        unsafe { _mm256_storeu_si256(packed.as_mut_ptr().cast(), rounded) }
    }
    _mm512_reduce_max_epu32(most).max(portable::encode_fp16(tail, rest))
}

#[target_feature(enable = "avx512f")]
fn decode_fp16(halves: &[[u8; 2]], row: &mut [f32]) -> u32 {
    let (packed, rest) = halves.as_chunks::<LANES>();
    let (vectors, tail) = row.as_chunks_mut();
    let mut most = _mm512_setzero_si512();
    for (packed, vector) in packed.iter().zip(vectors) {
        // SAFETY: 16 halves are what is read, and no alignment is asked for.
        let values = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(packed.as_ptr().cast()) });
        most = _mm512_max_epu32(most, magnitude(values));
        store(values, vector);
    }
    _mm512_reduce_max_epu32(most).max(portable::decode_fp16(rest, tail))
}

impl Kernel for Avx512 {
    fn absmax(&self, row: &[f32], block: usize, largest: &mut [f32]) {
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { absmax(row, block, largest) }
    }

    fn encode_int8(&self, row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]) {
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { encode_int8(row, block, scales, codes) }
    }

    fn decode_int8(&self, codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]) {
        // SAFETY: `self` exists only where AVX-512F was detected.
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
        // SAFETY: `self` exists only where AVX-512F was detected.
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
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { decode_nibbles(book, codes, block, scales, row) }
    }

    fn encode_plain(&self, row: &[f32], bytes: &mut [[u8; 4]]) -> u32 {
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { encode_plain(row, bytes) }
    }

    fn decode_plain(&self, bytes: &[[u8; 4]], row: &mut [f32]) -> u32 {
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { decode_plain(bytes, row) }
    }

    fn encode_fp16(&self, row: &[f32], halves: &mut [[u8; 2]]) -> u32 {
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { encode_fp16(row, halves) }
    }

    fn decode_fp16(&self, halves: &[[u8; 2]], row: &mut [f32]) -> u32 {
        // SAFETY: `self` exists only where AVX-512F was detected.
        unsafe { decode_fp16(halves, row) }
    }
}
