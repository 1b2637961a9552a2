//! The laws of quantizers, one test each.

use mobillm_core::quantizer::QuantizerConfig;
use plugin_ident::PluginTypeConfig;

mobillm_testkit::quantizer_conformance!(|| PluginTypeConfig::default().build());
mobillm_testkit::quantizer_conformance!(with_few_steps, || PluginTypeConfig { steps: 3 }.build());
