//! The laws of side networks, one test each.

use plugin_ident::PluginTypeConfig;

mobillm_testkit::side_network_conformance!(PluginTypeConfig::default());
