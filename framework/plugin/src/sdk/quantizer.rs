//! A quantizer's table.

use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::ClearedRows;
use mobillm_core::quantizer::{Payload, QuantizeError, Quantizer, QuantizerConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::component::{Door, component};
use super::list::{Exports, Maker};
use super::thunk::{Ending, guard};
use crate::abi::{
    MobillmBuffer, MobillmBytes, MobillmPayloadFormat, MobillmQuantizer, MobillmStatus,
    MobillmTensor, MobillmWriter,
};
use crate::tensors::{elements, elements_mut, view};
use crate::value::ValueRefused;

type Instance = Box<dyn Quantizer>;

/// The table of the quantizers of `E`.
pub(crate) struct QuantizerDoor<E>(PhantomData<E>);

impl<E: Exports> QuantizerDoor<E> {
    pub(crate) const TABLE: &'static MobillmQuantizer = &MobillmQuantizer {
        size: size_of::<MobillmQuantizer>(),
        component: component::<Self>(),
        format,
        row_bytes,
        error_bound,
        encode,
        decode,
    };
}

#[derive(Deserialize)]
pub(crate) struct Context {
    hidden: usize,
}

impl<E: Exports> Door for QuantizerDoor<E> {
    type Config = dyn QuantizerConfig;
    type Checked = Context;
    type Built = IgnoredAny;
    type Instance = Instance;

    fn makers() -> Vec<Maker<Self::Config>> {
        E::components().quantizers
    }

    fn check(config: &Self::Config, known: &Context) -> Result<Vec<Diagnostic>, Ending> {
        Ok(config.check(known.hidden))
    }

    fn build(config: &Self::Config, _: &IgnoredAny) -> Result<Instance, Ending> {
        Ok(config.build())
    }
}

/// # Safety
/// The instance is one of `build`.
unsafe fn quantizer<'a>(instance: *mut c_void) -> &'a dyn Quantizer {
    // SAFETY: as the caller promises.
    unsafe { &**instance.cast::<Instance>() }
}

fn ending(error: &QuantizeError) -> Ending {
    let json = ValueRefused::of(error).and_then(|value| serde_json::to_string(&value).ok());
    Ending::Refused(json.unwrap_or_else(|| error.to_string()))
}

unsafe extern "C" fn format(
    instance: *mut c_void,
    format: *mut MobillmPayloadFormat,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the instance is of `build`, and format and writer are lent for the call.
    unsafe {
        guard(error, || {
            let is = quantizer(instance).format();
            let (name, version, flags, block) = (is.name, is.version, is.flags, is.block);
            format.write(MobillmPayloadFormat { name, version, flags, block });
            Ok(())
        })
    }
}

unsafe extern "C" fn row_bytes(
    instance: *mut c_void,
    hidden: usize,
    bytes: *mut usize,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            bytes.write(quantizer(instance).row_bytes(hidden));
            Ok(())
        })
    }
}

unsafe extern "C" fn error_bound(
    instance: *mut c_void,
    row: *const MobillmTensor,
    bound: *const MobillmTensor,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the tensors are what they say and are lent for the call.
    unsafe {
        guard(error, || {
            let (row, [_]) = elements::<f32, 1>(row).map_err(Ending::Refused)?;
            let (out, [_]) = elements_mut::<f32, 1>(bound).map_err(Ending::Refused)?;
            let bound = quantizer(instance).error_bound(row);
            if bound.len() != out.len() {
                return Err(Ending::Failed(format!(
                    "{} bounds for {} values",
                    bound.len(),
                    out.len()
                )));
            }
            out.copy_from_slice(&bound);
            Ok(())
        })
    }
}

unsafe extern "C" fn encode(
    instance: *mut c_void,
    rows: *const MobillmTensor,
    out: MobillmBuffer,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; the buffer is lent for the call, too.
    unsafe {
        guard(error, || {
            let rows = view::<f32, 2>(rows).map_err(Ending::Refused)?;
            let out = out.read().map_err(Ending::Refused)?;
            quantizer(instance)
                .encode_rows(ClearedRows::crossed(rows), out)
                .map_err(|error| ending(&error))
        })
    }
}

unsafe extern "C" fn decode(
    instance: *mut c_void,
    bytes: MobillmBytes,
    rows: *const MobillmTensor,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            let (out, [rows, hidden]) = elements_mut::<f32, 2>(rows).map_err(Ending::Refused)?;
            let quantizer = quantizer(instance);
            let (format, bytes) = (quantizer.format(), bytes.read().map_err(Ending::Refused)?);
            let row_bytes = quantizer.row_bytes(hidden);
            let payload = Payload { format, rows, hidden, row_bytes, bytes };
            quantizer.decode_rows(&payload, out).map_err(|error| ending(&error))
        })
    }
}
