//! A call that does not come back.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::PayloadFormat;
use mobillm_core::quantizer::{Payload, QuantizeError, Quantizer, QuantizerConfig};
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Encodes for ever.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HangsConfig {}

impl Plugin for HangsConfig {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "hostile.hangs";
}

#[typetag::serde(name = "hostile.hangs")]
impl QuantizerConfig for HangsConfig {
    fn check(&self, _: usize) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        Box::new(Hangs)
    }
}

struct Hangs;

impl Quantizer for Hangs {
    fn format(&self) -> PayloadFormat {
        PayloadFormat { name: *b"hang", version: 1, flags: 0, block: 0 }
    }

    fn row_bytes(&self, hidden: usize) -> usize {
        hidden
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        row.to_vec()
    }

    fn encode_rows(&self, _: ClearedRows<'_>, _: &mut [u8]) -> Result<(), QuantizeError> {
        loop {
            std::thread::park();
        }
    }

    fn decode_rows(&self, _: &Payload<'_>, _: &mut [f32]) -> Result<(), QuantizeError> {
        Ok(())
    }
}
