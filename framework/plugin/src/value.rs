//! A refused value as it crosses: JSON.

use mobillm_core::quantizer::QuantizeError;
use serde::{Deserialize, Serialize};

/// [`QuantizeError::Value`] as JSON. A value that is not finite has no JSON number: it is text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ValueRefused {
    row: usize,
    column: usize,
    value: String,
    expected: String,
}

impl From<ValueRefused> for QuantizeError {
    fn from(refused: ValueRefused) -> Self {
        let ValueRefused { row, column, value, expected } = refused;
        Self::Value {
            row,
            column,
            value: value.parse().unwrap_or(f32::NAN),
            expected: expected.into(),
        }
    }
}

impl ValueRefused {
    /// What of `error` crosses as JSON.
    pub(crate) fn of(error: &QuantizeError) -> Option<Self> {
        match error {
            QuantizeError::Value { row, column, value, expected } => Some(Self {
                row: *row,
                column: *column,
                value: value.to_string(),
                expected: expected.to_string(),
            }),
            _ => None,
        }
    }
}
