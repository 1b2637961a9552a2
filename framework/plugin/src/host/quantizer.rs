//! A quantizer on the other side.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::{Payload, PayloadFormat, QuantizeError, Quantizer, QuantizerConfig};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::component::Chosen;
use super::instance::{CallError, Instance};
use crate::abi::{MobillmBuffer, MobillmBytes, MobillmPayloadFormat, MobillmQuantizer};
use crate::tensors::Lent;
use crate::value::ValueRefused;

/// The most that a quantizer may make of a value, 16 times an f32, and of a row beside its values.
const MOST_BYTES_A_VALUE: usize = 64;
const MOST_BYTES_BESIDE: usize = 4096;

/// The config twin of every quantizer that is loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoadedQuantizerConfig(Chosen);

#[typetag::serde(name = "loaded")]
impl QuantizerConfig for LoadedQuantizerConfig {
    fn check(&self, hidden: usize) -> Vec<Diagnostic> {
        let found = self.0.check::<MobillmQuantizer>(&json!({ "hidden": hidden }));
        if !found.is_empty() {
            return found;
        }
        // Neither `build` nor `row_bytes` can say that it failed: so they are tried here, where that has a place in
        // the config.
        let tried = LoadedQuantizer::new(&self.0).and_then(|built| built.size(hidden));
        tried.err().map(|error| Diagnostic::new("", error.to_string())).into_iter().collect()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        match LoadedQuantizer::new(&self.0) {
            Ok(quantizer) => Box::new(quantizer),
            Err(error) => Box::new(Unbuilt(error)),
        }
    }
}

struct LoadedQuantizer {
    instance: Instance<MobillmQuantizer>,
    format: PayloadFormat,
}

impl LoadedQuantizer {
    fn new(chosen: &Chosen) -> Result<Self, CallError> {
        let instance = chosen.build::<MobillmQuantizer>(&json!({}))?;
        let mut format = MobillmPayloadFormat::default();
        // SAFETY: the instance is of this table, and the format lives for the call.
        instance.call(&"format", |table, instance, error| unsafe {
            (table.format)(instance, &mut format, error)
        })?;
        let MobillmPayloadFormat { name, version, flags, block } = format;
        Ok(Self { instance, format: PayloadFormat { name, version, flags, block } })
    }

    /// Bytes of a row. What nobody could mean is refused before memory is asked for.
    fn size(&self, hidden: usize) -> Result<usize, CallError> {
        let mut bytes = 0;
        // SAFETY: the instance is of this table, and the number lives for the call.
        self.instance.call(&"row_bytes", |table, instance, error| unsafe {
            (table.row_bytes)(instance, hidden, &mut bytes, error)
        })?;
        let most = hidden.saturating_mul(MOST_BYTES_A_VALUE).saturating_add(MOST_BYTES_BESIDE);
        if bytes > most {
            let problem =
                format!("{bytes} bytes for a row of {hidden} values, expected at most {most}");
            return Err(self.instance.lied("row_bytes", problem));
        }
        Ok(bytes)
    }

    /// Whether `got` bytes are `rows` rows: the other side does not look again.
    fn fits(&self, rows: usize, hidden: usize, got: usize) -> Result<(), QuantizeError> {
        let size = self.size(hidden).map_err(failed)?;
        if rows.checked_mul(size) == Some(got) {
            return Ok(());
        }
        let problem = format!("expected {rows} rows of {size} bytes, got {got} bytes");
        Err(QuantizeError::Payload { problem })
    }
}

fn failed(error: CallError) -> QuantizeError {
    match &error {
        CallError::Refused { problem, .. } => match serde_json::from_str::<ValueRefused>(problem) {
            Ok(value) => value.into(),
            Err(_) => QuantizeError::Plugin(error.into()),
        },
        _ => QuantizeError::Plugin(error.into()),
    }
}

impl Quantizer for LoadedQuantizer {
    fn format(&self) -> PayloadFormat {
        self.format
    }

    /// 0 if the plugin fails: encoding then fails too, and says why.
    fn row_bytes(&self, hidden: usize) -> usize {
        self.size(hidden).unwrap_or(0)
    }

    /// NaN, which bounds nothing, if the plugin fails.
    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        let mut bound = vec![f32::NAN; row.len()];
        let (row, out) = (Lent::of(row, [row.len()]), Lent::of_mut(&mut bound, [row.len()]));
        // SAFETY: the instance is of this table, and both tensors live for the call.
        let asked = self.instance.call(&"error_bound", |table, instance, error| unsafe {
            (table.error_bound)(instance, &row.tensor(), &out.tensor(), error)
        });
        if asked.is_err() {
            bound.fill(f32::NAN);
        }
        bound
    }

    fn encode_rows(&self, cleared: ClearedRows<'_>, out: &mut [u8]) -> Result<(), QuantizeError> {
        let rows = cleared.rows();
        #[expect(clippy::expect_used, reason = "`ClearedRows` promises contiguous rows")]
        let values = rows.to_slice().expect("contiguous rows");
        self.fits(rows.nrows(), rows.ncols(), out.len())?;
        let rows = Lent::of(values, rows.dim().into());
        let out = MobillmBuffer::of(out);
        // SAFETY: the instance is of this table; tensor, buffer and writer live for the call.
        let encoded = self.instance.call(&"encode", |table, instance, error| unsafe {
            (table.encode)(instance, &rows.tensor(), out, error)
        });
        encoded.map_err(failed)
    }

    fn decode_rows(&self, payload: &Payload<'_>, out: &mut [f32]) -> Result<(), QuantizeError> {
        self.fits(payload.rows, payload.hidden, payload.bytes.len())?;
        let rows = Lent::of_mut(out, [payload.rows, payload.hidden]);
        let bytes = MobillmBytes::of(payload.bytes);
        // SAFETY: as above.
        let decoded = self.instance.call(&"decode", |table, instance, error| unsafe {
            (table.decode)(instance, bytes, &rows.tensor(), error)
        });
        decoded.map_err(failed)
    }
}

/// A quantizer that could not be built: whatever it is asked, it says why.
struct Unbuilt(CallError);

impl Quantizer for Unbuilt {
    fn format(&self) -> PayloadFormat {
        PayloadFormat { name: *b"none", version: 0, flags: 0, block: 0 }
    }

    fn row_bytes(&self, _: usize) -> usize {
        0
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        vec![f32::NAN; row.len()]
    }

    fn encode_rows(&self, _: ClearedRows<'_>, _: &mut [u8]) -> Result<(), QuantizeError> {
        Err(QuantizeError::Plugin(self.0.clone().into()))
    }

    fn decode_rows(&self, _: &Payload<'_>, _: &mut [f32]) -> Result<(), QuantizeError> {
        Err(QuantizeError::Plugin(self.0.clone().into()))
    }
}
