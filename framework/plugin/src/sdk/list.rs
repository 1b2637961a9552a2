//! What a library has.

use mobillm_core::backbone::BackboneConfig;
use mobillm_core::privacy::PrivacyPolicyConfig;
use mobillm_core::quantizer::QuantizerConfig;
use mobillm_core::registry::Plugin;
use mobillm_core::selector::SelectorConfig;
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_core::transport::TransportConfig;
use schemars::{Schema, schema_for};
use serde::de::DeserializeOwned;

/// A library's components; [`export!`](crate::export) fills it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Components {
    /// Config twins of backbones.
    pub backbones: Vec<Maker<dyn BackboneConfig>>,
    /// Config twins of selectors.
    pub selectors: Vec<Maker<dyn SelectorConfig>>,
    /// Config twins of privacy policies.
    pub privacy_policies: Vec<Maker<dyn PrivacyPolicyConfig>>,
    /// Config twins of quantizers.
    pub quantizers: Vec<Maker<dyn QuantizerConfig>>,
    /// Config twins of transports; with the feature `transport`, which brings the runtime that they run on.
    #[cfg(feature = "transport")]
    pub transports: Vec<Maker<dyn TransportConfig>>,
    /// Config twins of side networks.
    pub side_networks: Vec<Maker<dyn SideNetworkConfig>>,
}

/// Says what a library has.
pub trait Exports: 'static {
    /// All of it.
    fn components() -> Components;
}

/// A config twin that fills a slot whose config trait is `C`.
pub trait Twin<C: ?Sized>: Plugin + DeserializeOwned {
    /// It, behind the slot's trait.
    fn boxed(self) -> Box<C>;
}

macro_rules! twins {
    ($($config:ident),*) => {$(
        impl<P: $config + Plugin + DeserializeOwned + 'static> Twin<dyn $config> for P {
            fn boxed(self) -> Box<dyn $config> {
                Box::new(self)
            }
        }
    )*};
}
twins!(
    BackboneConfig,
    SelectorConfig,
    PrivacyPolicyConfig,
    QuantizerConfig,
    TransportConfig,
    SideNetworkConfig
);

/// How a config twin is made of the options of a config.
#[derive(Debug)]
pub struct Maker<C: ?Sized> {
    pub(crate) tag: &'static str,
    pub(crate) schema: fn() -> Schema,
    pub(crate) read: fn(&str) -> Result<Box<C>, serde_json::Error>,
}

impl<C: ?Sized> Maker<C> {
    /// That of the type `P`.
    pub fn of<P: Twin<C>>() -> Self {
        let read = |options: &str| serde_json::from_str::<P>(options).map(Twin::boxed);
        Self { tag: P::TAG, schema: || schema_for!(P), read }
    }
}
