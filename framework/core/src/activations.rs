//! Ragged activations: what is left of a tap once padding and unwanted tokens are gone.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView2, ArrayViewMut2};
use thiserror::Error;

/// Which rows belong to which sample of a micro-batch, and which token each row came from. A sample's
/// only row may say 0 whatever its token: a position is sent, and the last one's is the text's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    offsets: Vec<u32>,
    positions: Vec<u32>,
}

impl Layout {
    /// Samples with `counts[i]` rows each, taken from tokens 0, 1, 2, ... of the sample.
    pub fn from_counts(counts: impl IntoIterator<Item = usize>) -> Self {
        let mut layout = Self { offsets: vec![0], positions: Vec::new() };
        for count in counts {
            layout.push(0..count as u32);
        }
        layout
    }

    /// A layout without samples, to [`push`](Self::push) to.
    pub fn empty() -> Self {
        Self { offsets: vec![0], positions: Vec::new() }
    }

    /// Adds a sample whose rows came from `positions` of its tokens.
    pub fn push(&mut self, positions: impl IntoIterator<Item = u32>) {
        self.positions.extend(positions);
        self.offsets.push(self.positions.len() as u32);
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many rows all samples have together.
    pub fn rows(&self) -> usize {
        self.positions.len()
    }

    /// Where each sample's rows begin, and where the last one's end: `[samples + 1]`.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// For each row of all samples, the token it came from: `[rows]`.
    pub fn all_positions(&self) -> &[u32] {
        &self.positions
    }

    /// The rows of sample `sample`.
    pub fn range(&self, sample: usize) -> Range<usize> {
        self.offsets[sample] as usize..self.offsets[sample + 1] as usize
    }

    /// For each row of sample `sample`, the token it came from.
    pub fn positions(&self, sample: usize) -> &[u32] {
        &self.positions[self.range(sample)]
    }
}

/// A tensor whose parts do not fit together.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("layer {layer}: {rows} rows of {hidden} values need {expected} values, got {got}")]
pub struct ShapeError {
    /// The tapped layer.
    pub layer: usize,
    /// Rows that the layout claims.
    pub rows: usize,
    /// Values of a row.
    pub hidden: usize,
    /// Values that there should be.
    pub expected: usize,
    /// Values that there are.
    pub got: usize,
}

/// The selected rows of one tap of one micro-batch, `[rows, hidden]`, row after row in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    layer: usize,
    layout: Arc<Layout>,
    hidden: usize,
    values: Vec<f32>,
}

impl Selected {
    /// Rows `values` of `hidden` numbers each, laid out as `layout` says.
    ///
    /// # Errors
    /// If `values` does not hold exactly `layout.rows() * hidden` numbers.
    pub fn new(
        layer: usize,
        layout: impl Into<Arc<Layout>>,
        hidden: usize,
        values: Vec<f32>,
    ) -> Result<Self, ShapeError> {
        let layout = layout.into();
        let rows = layout.rows();
        let expected = rows * hidden;
        if values.len() != expected {
            let got = values.len();
            return Err(ShapeError { layer, rows, hidden, expected, got });
        }
        Ok(Self { layer, layout, hidden, values })
    }

    /// The tapped layer: 0 is the embedding, i the output of layer i.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Which rows belong to which sample.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The rows, `[rows, hidden]`.
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        let shape = (self.layout.rows(), self.hidden);
        #[expect(clippy::expect_used, reason = "`new` checked the length")]
        ArrayView2::from_shape(shape, &self.values).expect("length was checked by new")
    }

    /// The rows, lent to a policy.
    pub fn lend_mut(&mut self) -> SelectedMut<'_> {
        let Self { layer, layout, hidden, values } = self;
        SelectedMut { layer: *layer, layout, hidden: *hidden, values }
    }

    /// The rows, one after the other.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The memory, for the next tap.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// Selected rows, lent to be changed in place: their numbers may change, their shape may not.
#[derive(Debug)]
pub struct SelectedMut<'a> {
    layer: usize,
    layout: &'a Layout,
    hidden: usize,
    values: &'a mut [f32],
}

impl<'a> SelectedMut<'a> {
    /// Rows `values` of `hidden` numbers each, laid out as `layout` says.
    ///
    /// # Errors
    /// If `values` does not hold exactly `layout.rows() * hidden` numbers.
    pub fn new(
        layer: usize,
        layout: &'a Layout,
        hidden: usize,
        values: &'a mut [f32],
    ) -> Result<Self, ShapeError> {
        let rows = layout.rows();
        let (expected, got) = (rows * hidden, values.len());
        if got != expected {
            return Err(ShapeError { layer, rows, hidden, expected, got });
        }
        Ok(Self { layer, layout, hidden, values })
    }

    /// The tapped layer: 0 is the embedding, i the output of layer i.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Which rows belong to which sample.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// The rows, `[rows, hidden]`.
    pub fn rows_mut(&mut self) -> ArrayViewMut2<'_, f32> {
        let shape = (self.layout.rows(), self.hidden);
        #[expect(clippy::expect_used, reason = "`new` checked the length")]
        ArrayViewMut2::from_shape(shape, self.values).expect("length was checked by new")
    }

    /// The rows, one after the other.
    pub fn values_mut(&mut self) -> &mut [f32] {
        self.values
    }
}

/// All taps of a batch as the side network takes them: one `[rows, hidden]` per tapped layer, all
/// with the same layout.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationBatch {
    layout: Layout,
    hidden: usize,
    taps: Vec<Vec<f32>>,
}

impl ActivationBatch {
    /// A batch of `taps`, in the order of the tapped layers.
    ///
    /// # Errors
    /// If a tap does not hold exactly `layout.rows() * hidden` numbers; `layer` is its index here.
    pub fn new(layout: Layout, hidden: usize, taps: Vec<Vec<f32>>) -> Result<Self, ShapeError> {
        let rows = layout.rows();
        let expected = rows * hidden;
        for (layer, tap) in taps.iter().enumerate() {
            if tap.len() != expected {
                return Err(ShapeError { layer, rows, hidden, expected, got: tap.len() });
            }
        }
        Ok(Self { layout, hidden, taps })
    }

    /// Which rows belong to which sample.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many layers were tapped.
    pub fn taps(&self) -> usize {
        self.taps.len()
    }

    /// Values of a row.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The rows of the `tap`-th tapped layer, `[rows, hidden]`, row after row.
    pub fn tap(&self, tap: usize) -> &[f32] {
        &self.taps[tap]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_knows_its_samples() {
        let mut layout = Layout::from_counts([2, 0]);
        layout.push([5, 9]);
        assert_eq!((layout.samples(), layout.rows()), (3, 4));
        assert_eq!(layout.range(1), 2..2);
        assert_eq!(layout.positions(2), [5, 9]);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        let error = Selected::new(2, Layout::from_counts([2]), 3, vec![0.0; 5]);
        assert_eq!(error.map_err(|error| (error.expected, error.got)), Err((6, 5)));
        let layout = Layout::from_counts([2]);
        assert!(SelectedMut::new(2, &layout, 3, &mut [0.0; 7]).is_err());
        assert!(ActivationBatch::new(layout, 3, vec![vec![0.0; 7]]).is_err());
    }
}
