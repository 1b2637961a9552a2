//! Samples as they came to a batch as the side network takes it.

use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::privacy::Supervision;
use mobillm_core::quantizer::{Payload, QuantizeError, Quantizer};
use mobillm_core::sample::EncodedSample;

use crate::error::RunError;

/// Decodes `samples` of `taps` tapped layers of `hidden` values, in their order.
///
/// # Errors
/// If a payload is damaged.
pub fn decode(
    quantizer: &dyn Quantizer,
    taps: usize,
    hidden: usize,
    samples: &[EncodedSample],
) -> Result<(ActivationBatch, Vec<Supervision>), RunError> {
    let mut layout = Layout::empty();
    for sample in samples {
        layout.push(sample.positions.iter().copied());
    }
    let (format, row_bytes) = (quantizer.format(), quantizer.row_bytes(hidden));
    let mut decoded = Vec::with_capacity(taps);
    for tap in 0..taps {
        let mut rows = vec![0.0; layout.rows() * hidden];
        for (at, sample) in samples.iter().enumerate() {
            let range = layout.range(at);
            let bytes = &sample.taps[tap];
            let payload = Payload { format, rows: range.len(), hidden, row_bytes, bytes };
            quantizer.decode_rows(&payload, &mut rows[range.start * hidden..range.end * hidden])?;
        }
        decoded.push(rows);
    }
    let batch = ActivationBatch::new(layout, hidden, decoded).map_err(QuantizeError::from)?;
    Ok((batch, samples.iter().map(|sample| sample.supervision.clone()).collect()))
}
