//! Products without an instruction for bytes: 16 bit factors, 32 bit sums.

use std::ops::Range;

use super::{GROUP, Group, PANEL, Product};
use crate::int8::rows::ZERO_POINT;
use crate::int8::shared::Shared;

/// Rows of a tile.
const ROWS: usize = 4;

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
    for first in rows.clone().step_by(ROWS) {
        for row in first..(first + ROWS).min(rows.end) {
            let mut sums = [0; PANEL];
            let quants = product.quants[row * inputs..(row + 1) * inputs].as_chunks::<GROUP>().0;
            for (quants, Group(group)) in quants.iter().zip(&*panel) {
                let values = quants.map(|quant| i16::from(quant) - i16::from(ZERO_POINT));
                for (sum, weights) in sums.iter_mut().zip(group) {
                    for (value, weight) in values.iter().zip(weights) {
                        *sum += i32::from(*value) * i32::from(*weight);
                    }
                }
            }
            // SAFETY: the caller of `Product::run` promises that this tile is written once.
            let part = unsafe { output.part(row * outputs + column, width) };
            product.finish(&sums, row, column, part);
        }
    }
}

/// Brings `width` columns from `column` on into the order of a panel.
#[inline(always)]
fn pack(weight: &[i8], outputs: usize, column: usize, width: usize, panel: &mut [Group]) {
    for (Group(group), rows) in panel.iter_mut().zip(weight.chunks_exact(GROUP * outputs)) {
        for (at, row) in rows.chunks_exact(outputs).enumerate() {
            for (weights, &weight) in group.iter_mut().zip(&row[column..column + width]) {
                weights[at] = weight;
            }
        }
    }
}
