//! What is no number, or does not fit, ends a run with its place; no thread panics.

use mobillm::assembly::Assembly;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::activations::Selected;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    OwnPrediction, Pooling, Tap, TapSink, TokenBatch,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use mobillm_selectors::AllConfig;
use mobillm_testkit::fakes::{FakeBackbone, FakeBackboneConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setup::Setup;

const PAE: [&str; 4] = [
    "device.selector={type=\"loss-tokens\"}",
    "device.privacy={type=\"prediction-difference\"}",
    "server.side_network={type=\"candle\", architecture={type=\"additive-adapter\", rank=8}}",
    "server.store={type=\"disk\"}",
];

fn pae<'a>(more: &[&'a str]) -> Vec<&'a str> {
    PAE.iter().chain(more).copied().collect()
}

/// A model of sound layers whose head's last logit of the last sample is `value`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BrokenHeadConfig {
    value: Value,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Value {
    Nan,
    Infinite,
}

impl Plugin for BrokenHeadConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "broken-head";
}

#[typetag::serde(name = "broken-head")]
impl BackboneConfig for BrokenHeadConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        let fake = FakeBackboneConfig {
            layers: 3,
            hidden: 16,
            own_outputs: Some(2),
            pooling: Pooling::Mean,
            nan_layer: None,
            layer_milliseconds: 0,
        };
        let value = match self.value {
            Value::Nan => f32::NAN,
            Value::Infinite => f32::INFINITY,
        };
        Ok(Box::new(BrokenHead { fake: FakeBackbone::new(fake, context.taps.clone()), value }))
    }
}

struct BrokenHead {
    fake: FakeBackbone,
    value: f32,
}

impl Backbone for BrokenHead {
    fn info(&self) -> &BackboneInfo {
        self.fake.info()
    }

    fn taps(&self) -> &[usize] {
        self.fake.taps()
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        context: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        let mut own = self.fake.forward(batch, context, sink)?;
        if let Some(last) = own.as_mut().and_then(|own| own.last_mut()) {
            *last = self.value;
        }
        Ok(own)
    }
}

/// Takes every token, and says that another time it may take others.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnewConfig {}

impl Plugin for AnewConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "anew";
}

#[typetag::serde(name = "anew")]
impl SelectorConfig for AnewConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, info: &BackboneInfo) -> Box<dyn Selector> {
        Box::new(Anew(AllConfig::default().build(info)))
    }
}

struct Anew(Box<dyn Selector>);

impl Selector for Anew {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        self.0.layers(info)
    }

    fn rows(&self, tokens: usize) -> usize {
        self.0.rows(tokens)
    }

    fn is_fixed(&self) -> bool {
        false
    }

    fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError> {
        self.0.select(tap, memory)
    }
}

#[test]
fn a_nan_in_any_layer_ends_a_run_with_its_place() {
    let setup = Setup::of(&TinyBert::with_head(2));
    let cases = [
        ("device.selector={type=\"loss-tokens\"}", 1, "layer 1, row 0: "),
        ("device.selector={type=\"loss-tokens\"}", 3, "layer 3, row 0: "),
        ("device.selector={type=\"all\", embedding=true}", 0, "layer 0, row 0: "),
        // It is seen in the first layer after it that is tapped.
        ("device.selector={type=\"every-nth-layer\", n=3}", 1, "layer 3, row 0: "),
    ];
    for (selector, layer, place) in cases {
        let nan = format!(
            "device.backbone={{type=\"fake\", layers=3, hidden=16, own_outputs=2, nan_layer={layer}}}"
        );
        let error = setup.run(&pae(&[selector, &nan]), "run").unwrap_err().to_string();
        assert!(error.starts_with(place), "{error}");
        assert!(error.contains("NaN; expected finite numbers (a damaged weight file"), "{error}");
        std::fs::remove_dir_all(setup.path("run")).unwrap();
    }
}

#[test]
fn an_own_prediction_that_is_no_number_ends_a_run_with_its_place() {
    let mut setup = Setup::of(&TinyBert::with_head(2));
    setup.environment.registry.register::<BrokenHeadConfig>("test").unwrap();
    let labels = "device.privacy={type=\"labels\", own_prediction=true}";
    for (value, word) in [("nan", "NaN"), ("infinite", "inf")] {
        let backbone = format!("device.backbone={{type=\"broken-head\", value=\"{value}\"}}");
        for sets in [pae(&[&backbone]), pae(&[&backbone, labels])] {
            let error = setup.run(&sets, "run").unwrap_err().to_string();
            let place =
                format!("sample 4 of the batch: output 1 of the model's own head is {word}; ");
            assert!(error.starts_with(&place), "{error}");
            assert!(error.contains("expected finite numbers"), "{error}");
            let state = std::fs::read_to_string(setup.path("run/state.json")).unwrap();
            assert!(state.contains("\"samples_forwarded\": 0"), "{state}");
            std::fs::remove_dir_all(setup.path("run")).unwrap();
        }
        // Whoever does not ask the head does not mind.
        let prior = "device.own_prediction=\"prior\"";
        setup.run(&pae(&[&backbone, prior]), value).unwrap();
    }
}

#[test]
fn a_store_takes_no_selection_that_changes() {
    let mut setup = Setup::new();
    setup.environment.registry.register::<AnewConfig>("test").unwrap();
    let anew = "device.selector={type=\"anew\"}";
    let within = "device.selector={type=\"every-nth-layer\", n=2, tokens={type=\"anew\"}}";
    for selector in [anew, within] {
        for store in ["server.store={type=\"memory\"}", "server.store={type=\"disk\"}"] {
            let loaded = setup.load(&pae(&[selector, store]));
            let Err(error) = Assembly::new(&loaded, &setup.environment) else {
                panic!("{selector} is accepted with {store}");
            };
            let error = error.to_string();
            assert!(
                error.contains("server.store.type: the selector takes other tokens"),
                "{error}"
            );
            assert!(error.contains("expected `none`; or a selector whose choice is"), "{error}");
        }
        let none = "server.store={type=\"none\"}";
        Assembly::new(&setup.load(&pae(&[selector, none])), &setup.environment).unwrap();
    }
}
