//! Products with `vpdpwssd`: 32 products of 16 bits, summed by twos, at once.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{GROUP, Group, PANEL, Product};
use crate::shared::Shared;

/// Sums in a register.
const VECTOR: usize = 16;
/// Registers of a panel's sums.
const VECTORS: usize = PANEL / VECTOR;
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
    pack(product.weight, product.outputs(), column, width, panel);
    let mut row = rows.start;
    while row < rows.end {
        let count = (rows.end - row).min(ROWS);
        // SAFETY: as the caller promises.
        unsafe {
            match count {
                1 => tile::<1>(product, row, column, panel, output),
                2 => tile::<2>(product, row, column, panel, output),
                3 => tile::<3>(product, row, column, panel, output),
                4 => tile::<4>(product, row, column, panel, output),
                5 => tile::<5>(product, row, column, panel, output),
                _ => tile::<ROWS>(product, row, column, panel, output),
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
    output: &Shared<'_, f32>,
) {
    let inputs = product.inputs();
    let quants = product.quants[row * inputs..(row + R) * inputs].as_ptr();
    assert_eq!(panel.len() * GROUP, inputs, "the panel has all inputs");
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; R];
    for (at, group) in panel.iter().enumerate() {
        let weights = load(group);
        for (r, sums) in sums.iter_mut().enumerate() {
            // Not by index: a branch to a panic would make the compiler keep the sums in memory.
            // SAFETY: the slice has R rows of two integers for each group of the panel.
            let quants =
                unsafe { quants.add(r * inputs + at * GROUP).cast::<i32>().read_unaligned() };
            let quants = _mm512_set1_epi32(quants);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm512_dpwssd_epi32(*sum, quants, weights);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let mut exact = [0; PANEL];
        for (exact, sum) in exact.as_chunks_mut::<VECTOR>().0.iter_mut().zip(sums) {
            // SAFETY: 16 integers are what is written, and no alignment is asked for.
            unsafe { _mm512_storeu_epi32(exact.as_mut_ptr(), *sum) };
        }
        // SAFETY: this tile is written by this call alone.
        unsafe { product.finish(&exact, row + r, column, output) };
    }
}

/// Brings `width` columns from `column` on into the order of a panel, as 16 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pack(weight: &[i8], outputs: usize, column: usize, width: usize, panel: &mut [Group]) {
    for (group, rows) in panel.iter_mut().zip(weight.chunks_exact(GROUP * outputs)) {
        let columns = &rows[column..outputs + column + width];
        for (vector, out) in group.0.as_chunks_mut::<VECTOR>().0.iter_mut().enumerate() {
            let from = vector * VECTOR;
            let count = width.saturating_sub(from).min(VECTOR);
            let mask = ((1_u32 << count) - 1) as u16;
            let first = columns.as_ptr().wrapping_add(from);
            // SAFETY: what the mask lets be read are columns below `width` of both rows; 16 pairs are
            // what is written, and no alignment is asked for.
            unsafe {
                let first_row = _mm_maskz_loadu_epi8(mask, first);
                let second_row = _mm_maskz_loadu_epi8(mask, first.wrapping_add(outputs));
                let low = _mm_unpacklo_epi8(first_row, second_row);
                let high = _mm_unpackhi_epi8(first_row, second_row);
                let pairs = _mm512_cvtepi8_epi16(_mm256_set_m128i(high, low));
                _mm512_storeu_epi16(out.as_mut_ptr().cast(), pairs);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(group: &Group) -> [__m512i; VECTORS] {
    let start = group.0.as_ptr().cast::<__m512i>();
    // Not `array::from_fn`: what it calls is not compiled for this instruction set.
    // SAFETY: a group is as large and as aligned as four vectors.
    unsafe { [start.read(), start.add(1).read(), start.add(2).read(), start.add(3).read()] }
}
