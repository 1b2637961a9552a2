//! The components of mobillm as a library that is loaded, and the fake of a backbone: what the tests of
//! `mobillm-plugin` hold to the laws behind a door.

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_backbone_candle::CandleBackboneConfig;
use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_link_emulator::LinkEmulatorConfig;
use mobillm_privacy::{LabelsConfig, PredictionDifferenceConfig};
use mobillm_quantizers::{Fp4Config, Fp16Config, Int8Config, Nf4Config, NoneConfig};
use mobillm_selectors::{AllConfig, ChosenLayersConfig, EveryNthLayerConfig, LossTokensConfig};
use mobillm_testkit::fakes::FakeBackboneConfig;
use mobillm_transport_in_memory::InMemoryConfig;
use mobillm_transport_tcp::TcpConfig;

mobillm_plugin::export! {
    backbones: [CandleBackboneConfig, FakeBackboneConfig, OnnxBackboneConfig],
    selectors: [AllConfig, ChosenLayersConfig, EveryNthLayerConfig, LossTokensConfig],
    privacy_policies: [LabelsConfig, PredictionDifferenceConfig],
    quantizers: [Fp4Config, Fp16Config, Int8Config, Nf4Config, NoneConfig],
    transports: [InMemoryConfig, LinkEmulatorConfig, TcpConfig],
    side_networks: [CandleSideNetworkConfig],
}
