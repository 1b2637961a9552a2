//! A quantizer for mobillm, `plugin.tag` in a config: one byte a value, and a scale for each row.
//!
//! A row is its scale, an f32, and then a signed byte for each value: how many steps of the scale it is. The
//! scale is such that the largest value of the row is `steps` steps.
//!
//! ```
//! use mobillm_core::quantizer::QuantizerConfig;
//! use plugin_ident::PluginTypeConfig;
//!
//! let quantizer = PluginTypeConfig::default().build();
//! assert_eq!(quantizer.row_bytes(768), 4 + 768);
//! ```

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::{Payload, PayloadFormat, QuantizeError, Quantizer, QuantizerConfig};
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    quantizers: [PluginTypeConfig],
}

/// One byte a value, and a scale for each row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTypeConfig {
    /// Steps from zero to the largest value of a row.
    #[schemars(range(min = 1, max = 127))]
    pub steps: i8,
}

impl Default for PluginTypeConfig {
    fn default() -> Self {
        Self { steps: 127 }
    }
}

impl Plugin for PluginTypeConfig {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "plugin.tag";
}

#[typetag::serde(name = "plugin.tag")]
impl QuantizerConfig for PluginTypeConfig {
    fn check(&self, _hidden: usize) -> Vec<Diagnostic> {
        if self.steps >= 1 {
            return Vec::new();
        }
        let message = format!("{} is out of range", self.steps);
        vec![Diagnostic::new("steps", message).expected("1 to 127")]
    }

    fn build(&self) -> Box<dyn Quantizer> {
        Box::new(PluginType {
            steps: self.steps.max(1),
        })
    }
}

/// See [`PluginTypeConfig`].
#[derive(Debug, Clone)]
pub struct PluginType {
    steps: i8,
}

/// Bytes of a row's scale.
const SCALE: usize = size_of::<f32>();

impl PluginType {
    fn scale(&self, values: impl IntoIterator<Item = f32>) -> f32 {
        let largest = values
            .into_iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        largest / f32::from(self.steps)
    }
}

impl Quantizer for PluginType {
    fn format(&self) -> PayloadFormat {
        // Four letters of its own: what another code wrote is refused by them. The scale is in the bytes, so
        // no option changes how they are read.
        PayloadFormat {
            name: *b"QUAD",
            version: 1,
            flags: 0,
            block: 0,
        }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        SCALE + hidden
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        // Half a step, and what rounding adds: next to nothing, but for scales near the smallest number.
        let bound = 0.5001 * self.scale(row.iter().copied()) + f32::MIN_POSITIVE;
        vec![bound; row.len()]
    }

    fn encode_rows(&self, cleared: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError> {
        let rows = cleared.rows();
        let most = f32::from(self.steps);
        for (row, out) in rows
            .outer_iter()
            .zip(out.chunks_exact_mut(SCALE + rows.ncols()))
        {
            let scale = self.scale(row.iter().copied());
            let (head, codes) = out.split_at_mut(SCALE);
            head.copy_from_slice(&scale.to_le_bytes());
            for (value, code) in row.iter().zip(codes) {
                let steps = if scale > 0.0 {
                    (value / scale).round().clamp(-most, most)
                } else {
                    0.0
                };
                *code = (steps as i8).to_le_bytes()[0];
            }
        }
        Ok(())
    }

    fn decode_rows(&self, payload: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError> {
        if payload.hidden == 0 {
            return Ok(());
        }
        let rows = payload.bytes.chunks_exact(SCALE + payload.hidden);
        for (row, (bytes, out)) in rows.zip(out.chunks_exact_mut(payload.hidden)).enumerate() {
            let Some((head, codes)) = bytes.split_first_chunk::<SCALE>() else {
                continue;
            };
            let scale = f32::from_le_bytes(*head);
            // Bytes come from another machine: whatever they are, the values must be finite.
            if !(scale.is_finite() && scale >= 0.0) {
                let problem =
                    format!("the scale of row {row} is {scale}, expected a finite number");
                return Err(QuantizeError::Payload { problem });
            }
            for (code, value) in codes.iter().zip(out) {
                let steps = f32::from(i8::from_le_bytes([*code]));
                *value = (steps * scale).clamp(f32::MIN, f32::MAX);
            }
        }
        Ok(())
    }
}
