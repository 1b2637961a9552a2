//! The laws of whatever fills a slot, from its table in a config.
//!
//! For programs that judge a component without knowing its type, as `mobillm plugins check` does:
//!
//! ```
//! use mobillm_core::registry::Slot;
//! use mobillm_testkit::law::Verdict;
//! use mobillm_testkit::suite::{Component, Setting};
//! # use mobillm_selectors as _;
//!
//! let table = serde_json::json!({ "type": "loss-tokens" });
//! let component = Component::parse(Slot::Selector, table)?;
//! for law in component.laws(&Setting::default()) {
//!     assert_eq!(law.run(), Verdict::Kept, "{law}");
//! }
//! # Ok::<(), serde_json::Error>(())
//! ```

use mobillm_core::backbone::{Backbone, BackboneConfig, BackboneContext};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::PrivacyPolicyConfig;
use mobillm_core::quantizer::QuantizerConfig;
use mobillm_core::registry::Slot;
use mobillm_core::selector::SelectorConfig;
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_core::transport::TransportConfig;
use serde_json::Value;

use crate::law::Law;
use crate::transport::Limits;
use crate::{backbone, privacy, quantizer, selector, side_network, transport};

/// What the laws of some slots need beside the component.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// A model of at least one layer, room for four tokens and a vocabulary of two, to build backbones from;
    /// its taps do not matter. Without one nothing is said of backbones.
    pub backbone: Option<BackboneContext>,
    /// What a transport does not take.
    pub limits: Limits,
}

/// A component, as a config names it.
#[derive(Debug)]
pub struct Component(Config);

/// Its config twin.
#[derive(Debug)]
enum Config {
    Backbone(Box<dyn BackboneConfig>),
    Selector(Box<dyn SelectorConfig>),
    PrivacyPolicy(Box<dyn PrivacyPolicyConfig>),
    Quantizer(Box<dyn QuantizerConfig>),
    Transport(Box<dyn TransportConfig>),
    SideNetwork(Box<dyn SideNetworkConfig>),
}

/// The width of the rows that a quantizer's config is checked for.
const HIDDEN: usize = 768;

/// The law of those slots whose suites see no config.
const CHECK: &str = "check_finds_no_fault";

impl Component {
    /// The component of `slot` that `table` describes: its `type`, and its options.
    ///
    /// # Errors
    /// If no such type is linked into the program, or if its options are wrong.
    pub fn parse(slot: Slot, table: Value) -> Result<Self, serde_json::Error> {
        use serde_json::from_value;
        Ok(Self(match slot {
            Slot::Backbone => Config::Backbone(from_value(table)?),
            Slot::Selector => Config::Selector(from_value(table)?),
            Slot::PrivacyPolicy => Config::PrivacyPolicy(from_value(table)?),
            Slot::Quantizer => Config::Quantizer(from_value(table)?),
            Slot::Transport => Config::Transport(from_value(table)?),
            Slot::SideNetwork => Config::SideNetwork(from_value(table)?),
        }))
    }

    /// Every law of its slot, always in the same order. Nothing is built before a law runs.
    pub fn laws<'a>(&'a self, setting: &'a Setting) -> Vec<Law<'a>> {
        let read = Law::new("it_is_read_as_it_was_written", || self.is_read_as_it_was_written());
        let fine =
            |found: Vec<Diagnostic>| assert!(found.is_empty(), "`check` finds fault: {found:?}");
        let mut laws = vec![read];
        match &self.0 {
            Config::Backbone(config) => laws.extend(backbones(&**config, setting)),
            Config::Selector(config) => laws.extend(selector::laws(&**config)),
            Config::PrivacyPolicy(config) => laws.extend(privacy::laws(&**config)),
            Config::Quantizer(config) => {
                laws.push(Law::new(CHECK, move || fine(config.check(HIDDEN))));
                laws.extend(quantizer::laws(|| config.build()));
            }
            Config::Transport(config) => {
                laws.push(Law::new(CHECK, move || fine(config.check())));
                laws.extend(transport::laws(|| config.build(), setting.limits));
            }
            Config::SideNetwork(config) => laws.extend(side_network::laws(&**config)),
        }
        laws
    }

    /// A run's record holds the config as it was written: what is read from there is what was run.
    fn is_read_as_it_was_written(&self) {
        let table = self.0.table();
        match Self::parse(self.0.slot(), table.clone()) {
            Ok(again) => assert_eq!(again.0.table(), table, "what is read is written as before"),
            Err(error) => panic!("{table} was written, and cannot be read: {error}"),
        }
    }
}

/// The laws of what `config` makes of the setting's model.
fn backbones<'a>(config: &'a dyn BackboneConfig, setting: &'a Setting) -> Vec<Law<'a>> {
    let build = move |taps: &[usize]| -> Box<dyn Backbone> {
        let Some(model) = &setting.backbone else {
            unreachable!("no law is tried without a model")
        };
        let context = BackboneContext { taps: taps.to_vec(), ..model.clone() };
        config.build(&context).unwrap_or_else(|error| panic!("it is not built: {error}"))
    };
    let without_a_model = move || {
        let is_missing = setting.backbone.is_none();
        is_missing.then(|| "there is no model to build it from".to_owned())
    };
    backbone::laws(build).into_iter().map(|law| law.unless(without_a_model)).collect()
}

impl Config {
    fn slot(&self) -> Slot {
        match self {
            Self::Backbone(_) => Slot::Backbone,
            Self::Selector(_) => Slot::Selector,
            Self::PrivacyPolicy(_) => Slot::PrivacyPolicy,
            Self::Quantizer(_) => Slot::Quantizer,
            Self::Transport(_) => Slot::Transport,
            Self::SideNetwork(_) => Slot::SideNetwork,
        }
    }

    /// As it is written.
    fn table(&self) -> Value {
        let written = match self {
            Self::Backbone(config) => serde_json::to_value(config),
            Self::Selector(config) => serde_json::to_value(config),
            Self::PrivacyPolicy(config) => serde_json::to_value(config),
            Self::Quantizer(config) => serde_json::to_value(config),
            Self::Transport(config) => serde_json::to_value(config),
            Self::SideNetwork(config) => serde_json::to_value(config),
        };
        written.unwrap_or_else(|error| panic!("it cannot be written: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::law::Verdict;

    #[test]
    fn a_backbone_without_a_model_is_not_judged() {
        let table = json!({ "type": "fake", "layers": 2, "hidden": 4, "layer_milliseconds": 1 });
        let component = Component::parse(Slot::Backbone, table).unwrap();
        let of_a_model = |setting: &Setting| {
            let judged = |law: &Law<'_>| !matches!(law.run(), Verdict::Exempt(_));
            component.laws(setting).iter().filter(|law| judged(law)).count()
        };
        assert_eq!(of_a_model(&Setting::default()), 1);
        let model = BackboneContext {
            bundle: "none".into(),
            taps: Vec::new(),
            label_tokens: Vec::new(),
            libraries: Default::default(),
        };
        let setting = Setting { backbone: Some(model), ..Setting::default() };
        assert_eq!(of_a_model(&setting), component.laws(&setting).len());
    }

    /// Reads less than it writes, and finds fault with itself.
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Forgetful {
        #[serde(default, skip_deserializing)]
        bits: u8,
    }

    #[typetag::serde(name = "forgetful")]
    impl QuantizerConfig for Forgetful {
        fn check(&self, _: usize) -> Vec<Diagnostic> {
            vec![Diagnostic::new("bits", "expected some")]
        }

        fn build(&self) -> Box<dyn mobillm_core::quantizer::Quantizer> {
            unreachable!("no law of this test builds it")
        }
    }

    #[test]
    fn a_config_that_is_not_read_as_written_or_not_fine_is_found() {
        let config = Box::new(Forgetful { bits: 3 });
        let component = Component(Config::Quantizer(config));
        let setting = Setting::default();
        let laws = component.laws(&setting);
        for (law, said) in laws.iter().zip(["written as before", "expected some"]) {
            let Verdict::Broken(reason) = law.run() else { panic!("{law} is kept") };
            assert!(reason.contains(said), "{said:?} is not in: {reason}");
        }
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        let error = Component::parse(Slot::Quantizer, json!({ "type": "acme.q9" })).unwrap_err();
        assert!(error.to_string().contains("acme.q9"), "{error}");
    }
}
