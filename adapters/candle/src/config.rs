//! The config twin.

use std::num::NonZeroUsize;

use mobillm_adapter_portable::{Architecture, file};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::{CandleSideNetwork, engine_error};

/// A side network in pure Rust, on the CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CandleSideNetworkConfig {
    /// Threads to compute with; all that there are if not given.
    #[schemars(range(min = 1))]
    pub threads: Option<NonZeroUsize>,
    /// Which network.
    pub architecture: Architecture,
}

impl Plugin for CandleSideNetworkConfig {
    const SLOT: Slot = Slot::SideNetwork;
    const TAG: &'static str = "candle";
}

impl CandleSideNetworkConfig {
    fn pool(&self) -> Result<Option<rayon::ThreadPool>, SideNetworkError> {
        let pool = |threads: NonZeroUsize| {
            rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build().map_err(engine_error)
        };
        self.threads.map(pool).transpose()
    }
}

#[typetag::serde(name = "candle")]
impl SideNetworkConfig for CandleSideNetworkConfig {
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        self.architecture.check(context)
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let (blueprint, training) = self.architecture.plan(context)?;
        Ok(Box::new(CandleSideNetwork::new(blueprint, training, self.pool()?)))
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let (blueprint, weights) = file::read_adapter(adapter)?;
        Ok(Box::new(CandleSideNetwork::loaded(blueprint, weights, self.pool()?)))
    }
}
