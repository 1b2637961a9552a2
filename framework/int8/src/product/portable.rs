//! Products as the compiler vectorizes them: 16 bit factors, 32 bit sums.

use std::ops::Range;

use super::{GROUP, Group, PANEL, Product};
use crate::shared::Shared;

#[inline(always)]
pub(super) fn tiles(
    product: &Product<'_>,
    rows: Range<usize>,
    column: usize,
    panel: &mut [Group],
    output: &Shared<'_, f32>,
) {
    let (inputs, outputs) = (product.inputs(), product.outputs());
    let width = (outputs - column).min(PANEL);
    pack(product.weight, outputs, column, width, panel);
    for row in rows {
        let mut sums = [0; PANEL];
        let quants = product.quants[row * inputs..(row + 1) * inputs].as_chunks::<GROUP>().0;
        for (&[first, second], Group(group)) in quants.iter().zip(&*panel) {
            for (sum, &[first_weight, second_weight]) in sums.iter_mut().zip(group) {
                let products = i32::from(first) * i32::from(first_weight)
                    + i32::from(second) * i32::from(second_weight);
                *sum = products.wrapping_add(*sum);
            }
        }
        // SAFETY: the caller of `Product::run` promises that this tile is written once.
        unsafe { product.finish(&sums, row, column, output) };
    }
}

/// Brings `width` columns from `column` on into the order of a panel.
#[inline(always)]
fn pack(weight: &[i8], outputs: usize, column: usize, width: usize, panel: &mut [Group]) {
    for (Group(group), rows) in panel.iter_mut().zip(weight.chunks_exact(GROUP * outputs)) {
        for (at, row) in rows.chunks_exact(outputs).enumerate() {
            for (weights, &weight) in group.iter_mut().zip(&row[column..column + width]) {
                weights[at] = i16::from(weight);
            }
        }
    }
}
