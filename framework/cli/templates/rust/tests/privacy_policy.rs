//! The laws of privacy policies, one test each.

use plugin_ident::PluginTypeConfig;

mobillm_testkit::privacy_policy_conformance!(PluginTypeConfig::default());
mobillm_testkit::privacy_policy_conformance!(of_small_norm, PluginTypeConfig { norm: 0.5 });
