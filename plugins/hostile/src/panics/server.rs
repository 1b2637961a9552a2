//! Transport and side network.

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::activations::ActivationBatch;
use mobillm_core::backbone::Pooling;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{
    Optimizer, SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError,
    SideNetworkInfo, StepReport,
};
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportConfig, TransportError,
};
use ndarray::Array2;

use super::{PanickingSideNetworkConfig, PanickingTransportConfig};
use crate::fuse::{Fuse, blow};

#[typetag::serde(name = "hostile.panics")]
impl TransportConfig for PanickingTransportConfig {
    fn check(&self) -> Vec<Diagnostic> {
        blow(&self.at, "check");
        Vec::new()
    }

    fn crosses_processes(&self) -> bool {
        blow(&self.at, "crosses_processes");
        false
    }

    fn build(&self) -> Box<dyn Transport> {
        blow(&self.at, "build");
        Box::new(Nowhere(self.at.clone(), Fuse::new(&self.at)))
    }
}

/// Takes every frame, and none comes.
struct Nowhere(String, Fuse);

impl Nowhere {
    fn link(at: &str) -> Link {
        Link { sink: Box::new(End(Fuse::new(at))), source: Box::new(End(Fuse::new(at))) }
    }
}

#[async_trait]
impl Transport for Nowhere {
    async fn connect(&self) -> Result<Link, TransportError> {
        self.1.reach("connect");
        Ok(Self::link(&self.0))
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        self.1.reach("listen");
        Ok(Box::new(Waits(self.0.clone())))
    }

    fn overhead(&self) -> usize {
        self.1.reach("overhead");
        0
    }
}

struct Waits(String);

#[async_trait]
impl Listener for Waits {
    fn address(&self) -> String {
        "nowhere".to_owned()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        blow(&self.0, "accept");
        Ok(Nowhere::link(&self.0))
    }
}

struct End(Fuse);

#[async_trait]
impl FrameSink for End {
    async fn send(&mut self, _: Bytes, _: Lane) -> Result<(), TransportError> {
        self.0.reach("send");
        Ok(())
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.0.reach("close");
        Ok(())
    }
}

#[async_trait]
impl FrameSource for End {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.0.reach("receive");
        Ok(None)
    }
}

#[typetag::serde(name = "hostile.panics")]
impl SideNetworkConfig for PanickingSideNetworkConfig {
    fn check(&self, _: &SideNetworkContext) -> Vec<Diagnostic> {
        blow(&self.at, "check");
        Vec::new()
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        blow(&self.at, "build");
        Ok(Box::new(Zero::new(&self.at, context)))
    }

    fn load(&self, _: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        blow(&self.at, "load");
        let context = SideNetworkContext {
            taps: vec![0],
            hidden: 4,
            pooling: Pooling::Mean,
            objective: Objective::Regression,
            supervision: SupervisionKind::Truth,
            optimizer: Optimizer::default(),
            steps: 1,
            seed: 0,
            bundle: Fingerprint::of(b"zeros"),
        };
        Ok(Box::new(Zero::new(&self.at, &context)))
    }
}

/// Says 0 and learns nothing.
struct Zero {
    fuse: Fuse,
    info: SideNetworkInfo,
}

impl Zero {
    fn new(at: &str, context: &SideNetworkContext) -> Self {
        let info = SideNetworkInfo {
            engine: "none",
            architecture: "zero".to_owned(),
            parameters: 0,
            taps: context.taps.clone(),
            hidden: context.hidden,
            objective: context.objective,
            bundle: context.bundle,
            additive: false,
        };
        Self { fuse: Fuse::new(at), info }
    }
}

impl SideNetwork for Zero {
    fn info(&self) -> &SideNetworkInfo {
        self.fuse.reach("info");
        &self.info
    }

    fn train_step(
        &mut self,
        _: &ActivationBatch,
        _: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        self.fuse.reach("train_step");
        Ok(StepReport { step: 0, loss: 0.0, learning_rate: 0.0 })
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        self.fuse.reach("predict");
        Ok(Array2::zeros((batch.layout().samples(), self.info.objective.outputs())))
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.fuse.reach("adapter");
        Ok(Vec::new())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.fuse.reach("checkpoint");
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), SideNetworkError> {
        self.fuse.reach("restore");
        Ok(())
    }
}
