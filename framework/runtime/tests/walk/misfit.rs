//! An adapter of another side network than the run's is the server's fault: nobody has taken a wrong file.

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_core::activations::ActivationBatch;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::Supervision;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError, SideNetworkInfo,
    StepReport,
};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setup::Setup;

/// Finds in every adapter one of a model of width 5.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NarrowConfig {}

impl Plugin for NarrowConfig {
    const SLOT: Slot = Slot::SideNetwork;
    const TAG: &'static str = "narrow";
}

#[typetag::serde(name = "narrow")]
impl SideNetworkConfig for NarrowConfig {
    fn check(&self, _: &SideNetworkContext) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        CandleSideNetworkConfig::default().build(context)
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let network = CandleSideNetworkConfig::default().load(adapter)?;
        let info = SideNetworkInfo { hidden: 5, ..network.info().clone() };
        Ok(Box::new(Narrow { network, info }))
    }
}

struct Narrow {
    network: Box<dyn SideNetwork>,
    info: SideNetworkInfo,
}

impl SideNetwork for Narrow {
    fn info(&self) -> &SideNetworkInfo {
        &self.info
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        self.network.train_step(batch, supervision)
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        self.network.predict(batch)
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.network.adapter()
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.network.checkpoint()
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        self.network.restore(checkpoint)
    }
}

#[test]
fn an_adapter_of_another_network_is_told_as_the_servers_fault() {
    let mut setup = Setup::new();
    setup.environment.registry.register::<NarrowConfig>("test").unwrap();
    let error = setup.run(&["device.predictor={type=\"narrow\"}"], "run").unwrap_err().to_string();
    let said = "it is of another side network than this run's (hidden size: got 5, expected 16); use the same";
    assert!(error.starts_with("Adapter frame ") && error.contains(said), "{error}");
}
