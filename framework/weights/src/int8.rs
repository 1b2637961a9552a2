//! Rows of 8 bit integers that share a scale, for products of integers.

use std::ops::Range;

use crate::error::MatrixError;
use crate::rows::{inverse, largest, rounded};

/// Rows and columns that are transposed at a time: what is read and written stays in the cache.
const TILE: usize = 64;

/// A matrix of `value = code * scale of the row`, its codes transposed.
///
/// `MatMulInteger` takes them as its second factor B.
///
/// Its parts have the sizes that [`Int8RowsView`] says, and are read through [`Int8Rows::view`].
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    rows: usize,
    columns: usize,
    quants: Vec<i8>,
    scales: Vec<f32>,
}

impl Int8Rows {
    /// Values `[rows, columns]`, which are in range: a row's scale is its largest magnitude over 127,
    /// codes are rounded to even.
    pub(crate) fn encode(values: &[f32], [rows, columns]: [usize; 2]) -> Self {
        let mut quants = vec![0i8; values.len()];
        let mut scales = vec![0.0; rows];
        let mut tiles = vec![[[0i8; TILE]; TILE]; columns.div_ceil(TILE)];
        for (strip, part) in values.chunks(TILE * columns).enumerate() {
            let first = strip * TILE;
            let height = part.len() / columns;
            for (row, part) in part.chunks_exact(columns).enumerate() {
                let scale = largest(part) / 127.0;
                let inverse = inverse(scale);
                for (tile, part) in tiles.iter_mut().zip(part.chunks(TILE)) {
                    for (code, value) in tile[row].iter_mut().zip(part) {
                        *code = rounded(value * inverse) as i8;
                    }
                }
                scales[first + row] = scale;
            }
            for (column, quants) in quants.chunks_exact_mut(rows).enumerate() {
                let tile = &tiles[column / TILE];
                for (quant, codes) in quants[first..][..height].iter_mut().zip(tile) {
                    *quant = codes[column % TILE];
                }
            }
        }
        Self { rows, columns, quants, scales }
    }

    /// Its parts, to read.
    pub fn view(&self) -> Int8RowsView<'_> {
        let Self { rows, columns, ref quants, ref scales } = *self;
        Int8RowsView { rows, columns, quants, scales }
    }
}

/// [`Int8Rows`] whose parts lie elsewhere, such as in a mapped file.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Int8RowsView<'a> {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub columns: usize,
    /// Codes `[columns, rows]`, transposed.
    pub quants: &'a [i8],
    /// Scales `[rows]`.
    pub scales: &'a [f32],
}

impl Int8RowsView<'_> {
    /// This, whose codes are as many as its shape asks for, if its scales are too.
    pub(crate) fn checked(self) -> Result<Self, MatrixError> {
        let Self { rows, columns, scales, .. } = self;
        if scales.len() != rows {
            let problem = format!("has {} scales; expected one a row", scales.len());
            return Err(MatrixError::Shape { rows, columns, problem });
        }
        Ok(self)
    }

    /// Writes the values of `rows` to `out`, which holds just them.
    pub(crate) fn dequantize(&self, rows: Range<usize>, out: &mut [f32]) {
        for (tile, quants) in self.quants.chunks(TILE * self.rows).enumerate() {
            for (row, out) in rows.clone().zip(out.chunks_exact_mut(self.columns)) {
                let scale = self.scales[row];
                let codes = quants[row..].iter().step_by(self.rows);
                for (value, &code) in out[tile * TILE..].iter_mut().zip(codes) {
                    *value = f32::from(code) * scale;
                }
            }
        }
    }
}
