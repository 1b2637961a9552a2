//! The config twin.

use std::num::NonZeroU16;

use mobillm_adapter_portable::{Architecture, file};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::network::{Compute, LibtorchSideNetwork, engine_error};

/// A side network in libtorch, on the CPU or a CUDA device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LibtorchSideNetworkConfig {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads to compute with on the CPU; what libtorch chooses if not given.
    #[schemars(range(min = 1))]
    pub threads: Option<NonZeroU16>,
    /// Which network.
    pub architecture: Architecture,
}

/// Where a network is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// A CUDA device where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device.
    Cuda,
}

impl Plugin for LibtorchSideNetworkConfig {
    const SLOT: Slot = Slot::SideNetwork;
    const TAG: &'static str = "libtorch";
}

/// There is no CUDA device that libtorch can use.
#[derive(Debug, thiserror::Error)]
#[error(
    "no CUDA device, or a libtorch without CUDA; use `device = \"cpu\"` or a CUDA build of \
     libtorch on a machine with a GPU"
)]
struct NoCuda;

impl LibtorchSideNetworkConfig {
    fn compute(&self) -> Result<Compute, SideNetworkError> {
        let cuda = tch::Cuda::is_available();
        let device = match self.device {
            DeviceChoice::Cuda if !cuda => return Err(engine_error(NoCuda)),
            DeviceChoice::Cuda => Device::Cuda(0),
            DeviceChoice::Auto if cuda => Device::Cuda(0),
            DeviceChoice::Auto | DeviceChoice::Cpu => Device::Cpu,
        };
        Ok(Compute { device, threads: self.threads })
    }
}

#[typetag::serde(name = "libtorch")]
impl SideNetworkConfig for LibtorchSideNetworkConfig {
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        self.architecture.check(context)
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let (blueprint, training) = self.architecture.plan(context)?;
        Ok(Box::new(LibtorchSideNetwork::new(blueprint, training, self.compute()?)?))
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let (blueprint, weights) = file::read_adapter(adapter)?;
        Ok(Box::new(LibtorchSideNetwork::loaded(blueprint, &weights, self.compute()?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_cuda_where_there_is_none_says_what_to_do() {
        let config = LibtorchSideNetworkConfig { device: DeviceChoice::Cuda, ..Default::default() };
        match config.compute() {
            Ok(compute) => assert!(tch::Cuda::is_available() && compute.device.is_cuda()),
            Err(error) => {
                assert!(!tch::Cuda::is_available());
                assert!(error.to_string().contains("use `device = \"cpu\"`"), "{error}");
            }
        }
    }

    #[test]
    fn options_have_defaults_and_unknown_ones_are_refused() {
        let parse = serde_json::from_str::<Box<dyn SideNetworkConfig>>;
        let config = parse(r#"{"type":"libtorch","device":"cpu","threads":2}"#).unwrap();
        let expected = LibtorchSideNetworkConfig {
            device: DeviceChoice::Cpu,
            threads: NonZeroU16::new(2),
            ..Default::default()
        };
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        assert!(parse(r#"{"type":"libtorch","device":"tpu"}"#).is_err());
        assert!(parse(r#"{"type":"libtorch","threads":0}"#).is_err());
        assert!(parse(r#"{"type":"libtorch","thread":1}"#).is_err());
    }
}
