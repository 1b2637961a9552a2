//! Products with `vpdpbusd`: 64 products of bytes, summed by fours, at once.
//!
//! The first factors are unsigned, so a sum starts at what the zero point of 128 will have added to
//! it too much.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{GROUP, Group, PANEL, Product};
use crate::int8::rows::ZERO_POINT;
use crate::int8::shared::Shared;

/// Registers of a panel's sums.
const VECTORS: usize = PANEL / 16;
/// Rows of a tile: with four registers each they fill 24 of the 32.
const ROWS: usize = 6;

/// The tile of `rows` and the panel at `column`; `panel` is room for it.
///
/// # Safety
/// The product was checked, `rows` and `column` lie in it, and nobody else writes this tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn tiles(
    product: &Product<'_>,
    rows: Range<usize>,
    column: usize,
    panel: &mut [Group],
    output: &Shared<'_, f32>,
) {
    let width = (product.outputs() - column).min(PANEL);
    let start = pack(product.weight, product.outputs(), column, width, panel);
    let mut row = rows.start;
    while row < rows.end {
        let count = (rows.end - row).min(ROWS);
        // SAFETY: as the caller promises.
        unsafe {
            match count {
                1 => tile::<1>(product, row, column, panel, start, output),
                2 => tile::<2>(product, row, column, panel, start, output),
                3 => tile::<3>(product, row, column, panel, start, output),
                4 => tile::<4>(product, row, column, panel, start, output),
                5 => tile::<5>(product, row, column, panel, start, output),
                _ => tile::<ROWS>(product, row, column, panel, start, output),
            }
        }
        row += count;
    }
}

/// Rows `row..row + R` of the columns of the panel.
///
/// # Safety
/// As for [`tiles`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize>(
    product: &Product<'_>,
    row: usize,
    column: usize,
    panel: &[Group],
    start: [__m512i; VECTORS],
    output: &Shared<'_, f32>,
) {
    let (inputs, outputs) = (product.inputs(), product.outputs());
    let quants = product.quants[row * inputs..(row + R) * inputs].as_ptr();
    assert_eq!(panel.len() * GROUP, inputs, "the panel has all inputs");
    let mut sums = [start; R];
    for (at, group) in panel.iter().enumerate() {
        let weights = load(group);
        for (r, sums) in sums.iter_mut().enumerate() {
            // Not by index: a branch to a panic would make the compiler keep the sums in memory.
            // SAFETY: the slice has R rows of four bytes for each group of the panel.
            let quants =
                unsafe { quants.add(r * inputs + at * GROUP).cast::<i32>().read_unaligned() };
            let quants = _mm512_set1_epi32(quants);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm512_dpbusd_epi32(*sum, quants, weights);
            }
        }
    }
    let width = (outputs - column).min(PANEL);
    for (r, sums) in sums.iter().enumerate() {
        let mut exact = [0; PANEL];
        for (exact, sum) in exact.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            // SAFETY: 16 integers are what is written, and no alignment is asked for.
            unsafe { _mm512_storeu_epi32(exact.as_mut_ptr(), *sum) };
        }
        // SAFETY: this tile is written by this call alone.
        let part = unsafe { output.part((row + r) * outputs + column, width) };
        product.finish(&exact, row + r, column, part);
    }
}

/// Brings `width` columns from `column` on into the order of a panel. Returns where the sums start.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pack(
    weight: &[i8],
    outputs: usize,
    column: usize,
    width: usize,
    panel: &mut [Group],
) -> [__m512i; VECTORS] {
    let mask = u64::MAX >> (PANEL - width);
    let zero_point = _mm512_set1_epi8(ZERO_POINT as i8);
    let mut sums = [_mm512_setzero_si512(); VECTORS];
    for (group, rows) in panel.iter_mut().zip(weight.chunks_exact(GROUP * outputs)) {
        let columns = &rows[column..3 * outputs + column + width];
        let row = columns.as_ptr();
        // SAFETY: what the mask lets be read are `width` columns of each of the four rows.
        let bytes = unsafe {
            [
                _mm512_maskz_loadu_epi8(mask, row),
                _mm512_maskz_loadu_epi8(mask, row.add(outputs)),
                _mm512_maskz_loadu_epi8(mask, row.add(2 * outputs)),
                _mm512_maskz_loadu_epi8(mask, row.add(3 * outputs)),
            ]
        };
        let vectors = interleave(bytes);
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum = _mm512_dpbusd_epi32(*sum, zero_point, vector);
        }
        store(vectors, group);
    }
    for sum in &mut sums {
        *sum = _mm512_sub_epi32(_mm512_setzero_si512(), *sum);
    }
    sums
}

/// Of four rows of 64 bytes, the four bytes of each column side by side, columns in order.
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave([a, b, c, d]: [__m512i; GROUP]) -> [__m512i; VECTORS] {
    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
    // Lane l of the v-th of these has columns 16 l + 4 v to 16 l + 4 v + 3.
    let v0 = _mm512_unpacklo_epi16(ab, cd);
    let v1 = _mm512_unpackhi_epi16(ab, cd);
    let v2 = _mm512_unpacklo_epi16(ab_high, cd_high);
    let v3 = _mm512_unpackhi_epi16(ab_high, cd_high);
    // Vector l is to have lane l of each: a transposition of lanes.
    let (low01, low23) =
        (_mm512_shuffle_i32x4::<0x44>(v0, v1), _mm512_shuffle_i32x4::<0x44>(v2, v3));
    let (high01, high23) =
        (_mm512_shuffle_i32x4::<0xee>(v0, v1), _mm512_shuffle_i32x4::<0xee>(v2, v3));
    [
        _mm512_shuffle_i32x4::<0x88>(low01, low23),
        _mm512_shuffle_i32x4::<0xdd>(low01, low23),
        _mm512_shuffle_i32x4::<0x88>(high01, high23),
        _mm512_shuffle_i32x4::<0xdd>(high01, high23),
    ]
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(group: &Group) -> [__m512i; VECTORS] {
    let start = group.0.as_ptr().cast::<__m512i>();
    // Not `array::from_fn`: what it calls is not compiled for this instruction set.
    // SAFETY: a group is as large and as aligned as four vectors.
    unsafe { [start.read(), start.add(1).read(), start.add(2).read(), start.add(3).read()] }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(vectors: [__m512i; VECTORS], group: &mut Group) {
    let start = group.0.as_mut_ptr().cast::<__m512i>();
    for (at, vector) in vectors.into_iter().enumerate() {
        // SAFETY: a group is as large and as aligned as four vectors.
        unsafe { start.add(at).write(vector) };
    }
}
