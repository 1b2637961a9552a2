//! The laws of transports, one test each.

use mobillm_core::transport::TransportConfig;
use plugin_ident::PluginTypeConfig;

mobillm_testkit::transport_conformance!(|| PluginTypeConfig::default().build());
