//! From one row to the rows of a payload: shapes are checked and errors get their place here, once.

use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::{Payload, PayloadFormat, QuantizeError, Quantizer};

/// A value that a row code cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// Where it is in the row.
    pub column: usize,
    /// What can be encoded.
    pub expected: &'static str,
}

/// A code for one row.
pub(crate) trait RowCode: Send + Sync {
    /// Memory that is used again for every row of a call.
    type Scratch: Default;

    fn format(&self) -> PayloadFormat;

    /// Bytes of a row of `hidden` values; saturates where a header claims more than fits the memory.
    fn row_bytes(&self, hidden: usize) -> usize;

    fn error_bound(&self, row: &[f32]) -> Vec<f32>;

    /// Writes all of `out`, which is `row_bytes(row.len())` long; `row` is not empty.
    fn encode_row(
        &self,
        row: &[f32],
        out: &mut [u8],
        scratch: &mut Self::Scratch,
    ) -> Result<(), BadValue>;

    /// Writes all of `row`, which is not empty, or says what is wrong with `bytes`.
    fn decode_row(
        &self,
        bytes: &[u8],
        row: &mut [f32],
        scratch: &mut Self::Scratch,
    ) -> Result<(), String>;
}

/// The quantizer that applies a row code to every row.
pub(crate) struct ByRow<C>(pub C);

impl<C: RowCode> Quantizer for ByRow<C> {
    fn format(&self) -> PayloadFormat {
        self.0.format()
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        self.0.row_bytes(hidden)
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        self.0.error_bound(row)
    }

    fn encode_rows(&self, cleared: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError> {
        let view = cleared.rows();
        let (rows, hidden) = view.dim();
        #[expect(clippy::expect_used, reason = "`ClearedRows` promises contiguous rows")]
        let values = view.as_slice().expect("contiguous rows");
        let row_bytes = self.0.row_bytes(hidden);
        expect_length("the encoded rows", out.len(), rows, row_bytes, "bytes")?;
        if hidden == 0 {
            return Ok(());
        }
        let mut scratch = C::Scratch::default();
        let pairs = values.chunks_exact(hidden).zip(out.chunks_exact_mut(row_bytes));
        for (row, (values, out)) in pairs.enumerate() {
            self.0.encode_row(values, out, &mut scratch).map_err(
                |BadValue { column, expected }| QuantizeError::Value {
                    row,
                    column,
                    value: values[column],
                    expected: expected.into(),
                },
            )?;
        }
        Ok(())
    }

    fn decode_rows(&self, payload: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError> {
        let Payload { format, rows, hidden, row_bytes, bytes } = *payload;
        let expected = (self.format(), self.0.row_bytes(hidden));
        if (format, row_bytes) != expected {
            return Err(problem(format!(
                "expected {} with rows of {} bytes, got {format} with rows of {row_bytes} bytes",
                expected.0, expected.1
            )));
        }
        expect_length("the payload", bytes.len(), rows, row_bytes, "bytes")?;
        expect_length("the decoded rows", out.len(), rows, hidden, "values")?;
        if hidden == 0 {
            return Ok(());
        }
        let mut scratch = C::Scratch::default();
        let pairs = bytes.chunks_exact(row_bytes).zip(out.chunks_exact_mut(hidden));
        for (row, (bytes, values)) in pairs.enumerate() {
            self.0
                .decode_row(bytes, values, &mut scratch)
                .map_err(|damage| problem(format!("row {row}: {damage}")))?;
        }
        Ok(())
    }
}

fn problem(problem: String) -> QuantizeError {
    QuantizeError::Payload { problem }
}

fn expect_length(
    what: &str,
    got: usize,
    rows: usize,
    each: usize,
    unit: &str,
) -> Result<(), QuantizeError> {
    if rows.checked_mul(each) == Some(got) {
        return Ok(());
    }
    Err(problem(format!("{what}: expected {rows} rows of {each} {unit}, got {got} {unit}")))
}

/// The column of the first value of `row` with a magnitude above `limit`, or that is not a number;
/// there is one.
pub(crate) fn first_beyond(row: &[f32], limit: f32) -> usize {
    let beyond = |value: &f32| value.abs().to_bits() > limit.to_bits();
    row.iter().position(beyond).unwrap_or_default()
}
