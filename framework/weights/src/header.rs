//! The header of a safetensors file: where each tensor is.
//!
//! Headers come from strangers. Nothing is allocated on the word of one: all that is kept is as long
//! as the text that it was read from.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Bytes before the header, which hold its length.
pub(crate) const LENGTH: usize = size_of::<u64>();

/// The key of the header that names no tensor.
pub(crate) const METADATA: &str = "__metadata__";

/// The longest header that the format allows.
pub(crate) const LONGEST: usize = 100_000_000;

/// Where a tensor of a safetensors file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first byte, from the start of the file.
    pub offset: usize,
    /// Its bytes.
    pub length: usize,
}

/// What a header says, once it is known to be true of its file.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) tensors: BTreeMap<String, Location>,
}

impl Header {
    /// The header of the file that consists of `bytes`, or what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
            return Err(format!("has {} bytes, which is no safetensors file", bytes.len()));
        };
        let length = u64::from_le_bytes(*length);
        let header = usize::try_from(length)
            .ok()
            .filter(|&length| length <= LONGEST)
            .and_then(|length| rest.split_at_checked(length));
        let Some((header, data)) = header else {
            return Err(format!(
                "says that its header has {length} bytes, but {} follow and {LONGEST} are allowed; \
                 it is no safetensors file or was cut short",
                rest.len()
            ));
        };
        let Entries { metadata, tensors } = serde_json::from_slice(header)
            .map_err(|error| format!("has a damaged header: {error}; fetch it again"))?;
        let tensors = located(tensors, LENGTH + header.len(), data.len())?;
        Ok(Self { metadata, tensors })
    }
}

/// The places of `tensors` in a file whose data are `data` bytes from `start` on. They must lie end to
/// end and fill the data: so they neither overlap nor lead outside.
fn located(
    mut tensors: Vec<(String, TensorInfo)>,
    start: usize,
    data: usize,
) -> Result<BTreeMap<String, Location>, String> {
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    let mut located = BTreeMap::new();
    for (name, TensorInfo { dtype, shape, data_offsets: (from, to) }) in tensors {
        if from != end || to < from || to > data {
            return Err(format!(
                "puts tensor {name} at bytes {from}..{to} of {data}; expected it to start at {end}, \
                 where the one before ends, and to end within the file: it is damaged or cut short, fetch \
                 it again"
            ));
        }
        let (length, expected) = (to - from, byte_length(dtype, &shape));
        if expected != Some(length) {
            return Err(format!(
                "gives tensor {name} {length} bytes, which are not {dtype} values of shape {shape:?}; it is \
                 damaged, fetch it again"
            ));
        }
        end = to;
        let place = Location { dtype, shape, offset: start + from, length };
        if located.insert(name.clone(), place).is_some() {
            return Err(format!("has two tensors {name}; it is damaged, fetch it again"));
        }
    }
    match end == data {
        true => Ok(located),
        false => Err(format!(
            "has {data} bytes of data, but its tensors end at {end}; it is damaged, fetch it again"
        )),
    }
}

/// Bytes of a tensor, if it has a whole and countable number of them.
pub(crate) fn byte_length(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let bits = shape.iter().try_fold(dtype.bitsize(), |bits, &size| bits.checked_mul(size))?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// The entries of a header as they stand there: a map would hide a name that occurs twice.
#[derive(Default)]
struct Entries {
    metadata: HashMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Entries::default();
        while let Some(name) = map.next_key::<String>()? {
            let within = |error| A::Error::custom(format_args!("{name}: {error}"));
            if name == METADATA {
                entries.metadata = map.next_value().map_err(within)?;
            } else {
                let info = map.next_value().map_err(within)?;
                entries.tensors.push((name, info));
            }
        }
        Ok(entries)
    }
}
