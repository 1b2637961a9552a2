//! What quantizers are tried on.

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, Cleared, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release,
};
use mobillm_core::quantizer::{Quantizer, encode};
use proptest::prelude::*;
use proptest::sample::Index;

use super::fail;

/// Rows of `hidden` values.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) hidden: usize,
    pub(super) values: Vec<f32>,
    pub(super) count: usize,
}

impl Rows {
    /// `[rows, hidden]`.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.count, self.hidden)
    }
}

/// Rows that every quantizer must take. Each row has its own order of magnitude.
pub(super) fn matrix() -> impl Strategy<Value = Rows> {
    (1usize..5, widths()).prop_flat_map(|(count, hidden)| rows(count, hidden, -149..=8))
}

/// Rows of any finite magnitude.
pub(super) fn wild_matrix() -> impl Strategy<Value = Rows> {
    (1usize..5, widths()).prop_flat_map(|(count, hidden)| rows(count, hidden, -149..=127))
}

pub(super) fn empty_matrix() -> impl Strategy<Value = Rows> {
    let none = widths().prop_map(|hidden| Rows { hidden, values: Vec::new(), count: 0 });
    let narrow = (0usize..5).prop_map(|count| Rows { hidden: 0, values: Vec::new(), count });
    prop_oneof![none, narrow]
}

/// Hidden sizes: small, around multiples of common block sizes, and one of a real model.
fn widths() -> impl Strategy<Value = usize> {
    let around = (1usize..=4, -1isize..=1)
        .prop_map(|(blocks, off)| (64 * blocks).saturating_add_signed(off));
    prop_oneof![4 => 1usize..40, 2 => around, 1 => Just(768)]
}

/// Bytes over those of encoded rows: from the start of a row, where its scales may be, or anywhere.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    pub(super) at: Index,
    pub(super) at_row: bool,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn noise() -> impl Strategy<Value = (Rows, Noise)> {
    let byte = prop_oneof![
        2 => any::<u8>(),
        // Signs, infinities, NaNs and the largest counts are made of these.
        1 => proptest::sample::select(vec![0, 0x7c, 0x7f, 0x80, 0xff]),
    ];
    let length = prop_oneof![1usize..=8, 1usize..=4096];
    let bytes = length.prop_flat_map(move |length| proptest::collection::vec(byte.clone(), length));
    let noise = (any::<Index>(), any::<bool>(), bytes).prop_map(|(at, at_row, bytes)| Noise {
        at,
        at_row,
        bytes,
    });
    (matrix(), noise)
}

fn rows(
    count: usize,
    hidden: usize,
    exponents: std::ops::RangeInclusive<i32>,
) -> impl Strategy<Value = Rows> {
    let row = exponents.prop_flat_map(move |exponent| {
        let scaled = move |x: f32| {
            let value = (f64::from(x) * 2f64.powi(exponent)) as f32;
            value.clamp(f32::MIN, f32::MAX)
        };
        let value = prop_oneof![
            12 => (-2f32..2.0).prop_map(scaled),
            1 => prop_oneof![Just(1f32), Just(-1.0)].prop_map(scaled),
            1 => prop_oneof![Just(0f32), Just(-0.0)],
        ];
        let zeros = proptest::collection::vec(Just(0f32), hidden);
        prop_oneof![9 => proptest::collection::vec(value, hidden), 1 => zeros]
    });
    proptest::collection::vec(row, count).prop_map(move |rows| Rows {
        hidden,
        values: rows.concat(),
        count,
    })
}

/// Lets everything pass: the quantizer is what is under test.
struct Open;

impl PrivacyPolicy for Open {
    fn info(&self) -> PolicyInfo {
        PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".into() }
    }
}

impl Rows {
    pub(super) fn clear(&self) -> Result<Cleared, TestCaseError> {
        let layout = Layout::from_counts([self.count]);
        let selected = Selected::new(1, layout, self.hidden, self.values.clone());
        let context = ReleaseContext { samples: &[], purpose: Purpose::Train };
        release(&mut Open, &context, selected.map_err(fail)?).map_err(fail)
    }

    pub(super) fn row(&self, row: usize) -> Self {
        let values = self.values[row * self.hidden..][..self.hidden].to_vec();
        Self { values, count: 1, ..*self }
    }

    pub(super) fn encoded(&self, quantizer: &dyn Quantizer) -> Result<Vec<u8>, TestCaseError> {
        let mut bytes = Vec::new();
        encode(quantizer, &self.clear()?, &mut bytes).map_err(fail)?;
        Ok(bytes)
    }
}
