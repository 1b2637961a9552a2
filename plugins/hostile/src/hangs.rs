//! Calls that do not come back.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::PayloadFormat;
use mobillm_core::quantizer::{Payload, QuantizeError, Quantizer, QuantizerConfig};
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Does not come back from one call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HangsConfig {
    /// The call: `check`, `build`, `encode` or `release`.
    pub at: String,
}

impl Default for HangsConfig {
    fn default() -> Self {
        Self { at: "encode".to_owned() }
    }
}

/// Never ends if `call` is the one that is named.
fn hang(at: &str, call: &str) {
    if at == call {
        loop {
            std::thread::park();
        }
    }
}

impl Plugin for HangsConfig {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "hostile.hangs";
}

#[typetag::serde(name = "hostile.hangs")]
impl QuantizerConfig for HangsConfig {
    fn check(&self, _: usize) -> Vec<Diagnostic> {
        hang(&self.at, "check");
        Vec::new()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        hang(&self.at, "build");
        Box::new(Hangs { at: self.at.clone() })
    }
}

struct Hangs {
    at: String,
}

impl Drop for Hangs {
    fn drop(&mut self) {
        hang(&self.at, "release");
    }
}

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
        hang(&self.at, "encode");
        Ok(())
    }

    fn decode_rows(&self, _: &Payload<'_>, _: &mut [f32]) -> Result<(), QuantizeError> {
        Ok(())
    }
}
