//! The laws of selectors, one test each.

use plugin_ident::PluginTypeConfig;

mobillm_testkit::selector_conformance!(PluginTypeConfig::default());
mobillm_testkit::selector_conformance!(of_all_layers, PluginTypeConfig { every: 1 });
