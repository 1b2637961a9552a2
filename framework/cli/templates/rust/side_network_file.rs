//! Adapter and checkpoint: JSON, with the numbers as their bits, so that none changes on the way.

use mobillm_core::side_network::{SideNetworkContext, SideNetworkError};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Moments, PluginType, refused_file};

/// What is kept of a network. An adapter has no moments.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) features: usize,
    pub(crate) context: SideNetworkContext,
    /// `[outputs, features + 1]`.
    pub(crate) head: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moments: Option<MomentsFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MomentsFile {
    pub(crate) step: u64,
    pub(crate) first: Vec<u32>,
    pub(crate) second: Vec<u32>,
}

impl File {
    pub(crate) fn of(network: &PluginType, moments: Option<&Moments>) -> Self {
        let moments = moments.map(|moments| MomentsFile {
            step: moments.step,
            first: bits(&moments.first),
            second: bits(&moments.second),
        });
        let features = network.head.ncols() - 1;
        Self {
            features,
            context: network.context.clone(),
            head: bits(&network.head),
            moments,
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, SideNetworkError> {
        serde_json::from_slice(bytes).map_err(|error| refused_file(error.to_string()))
    }

    pub(crate) fn write(&self) -> Result<Vec<u8>, SideNetworkError> {
        serde_json::to_vec(self).map_err(|error| refused_file(error.to_string()))
    }
}

fn bits(numbers: &Array2<f32>) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The finite numbers of `bits` in a matrix of `shape`.
pub(crate) fn matrix(
    bits: Vec<u32>,
    shape: (usize, usize),
) -> Result<Array2<f32>, SideNetworkError> {
    let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(refused_file("a number is not finite"));
    }
    let got = numbers.len();
    Array2::from_shape_vec(shape, numbers)
        .map_err(|_| refused_file(format!("{got} numbers, expected a matrix of {shape:?}")))
}

/// Refuses a network of another run, and says in what they differ.
pub(crate) fn check_same(
    got: &SideNetworkContext,
    expected: &SideNetworkContext,
) -> Result<(), SideNetworkError> {
    if got == expected {
        return Ok(());
    }
    let value = |context| serde_json::to_value(context).unwrap_or(Value::Null);
    let (got, expected) = (value(got), value(expected));
    let fields = expected.as_object().into_iter().flatten();
    let differing = fields.filter(|(name, expected)| got[name.as_str()] != **expected);
    let told: Vec<String> = differing
        .map(|(name, expected)| format!("{name}: {}, expected {expected}", got[name.as_str()]))
        .collect();
    Err(refused_file(format!(
        "it is of another run: {}",
        told.join("; ")
    )))
}
