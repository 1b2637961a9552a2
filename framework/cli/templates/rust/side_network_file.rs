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

impl MomentsFile {
    /// The moments of a head of `shape`.
    pub(crate) fn read(self, shape: (usize, usize)) -> Result<Moments, SideNetworkError> {
        Ok(Moments {
            step: self.step,
            first: matrix(self.first, shape)?,
            second: matrix(self.second, shape)?,
        })
    }
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

    /// Refuses a file of another run than that of `network`, and says in what they differ.
    pub(crate) fn check_same_run(&self, network: &PluginType) -> Result<(), SideNetworkError> {
        let features = network.head.ncols() - 1;
        if self.features != features {
            let got = self.features;
            return Err(refused_file(format!("{got} features, expected {features}")));
        }
        let value = |context| {
            serde_json::to_value(context).map_err(|error| refused_file(error.to_string()))
        };
        let (got, expected): (Value, Value) = (value(&self.context)?, value(&network.context)?);
        let fields = expected.as_object().into_iter().flatten();
        let told: Vec<String> = fields
            .filter(|(name, expected)| got[name.as_str()] != **expected)
            .map(|(name, expected)| format!("{name}: {}, expected {expected}", got[name.as_str()]))
            .collect();
        match told.is_empty() {
            true => Ok(()),
            false => Err(refused_file(format!(
                "it is of another run: {}",
                told.join("; ")
            ))),
        }
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
