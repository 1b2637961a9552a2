//! `hostile.panics` of every slot.

mod device;
mod server;

use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The config twin of each slot: they differ in their names and in the call that panics by default.
macro_rules! twins {
    ($($config:ident $slot:ident $at:literal;)*) => {$(
        /// Panics in one call.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $config {
            /// The call: a function of the slot's table.
            pub at: String,
        }

        impl Default for $config {
            fn default() -> Self {
                Self { at: $at.to_owned() }
            }
        }

        impl Plugin for $config {
            const SLOT: Slot = Slot::$slot;
            const TAG: &'static str = "hostile.panics";
        }
    )*};
}

twins! {
    PanickingBackboneConfig Backbone "forward";
    PanickingSelectorConfig Selector "select";
    PanickingPolicyConfig PrivacyPolicy "activations";
    PanickingQuantizerConfig Quantizer "encode";
    PanickingTransportConfig Transport "send";
    PanickingSideNetworkConfig SideNetwork "train_step";
}
