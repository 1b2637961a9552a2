//! What a config amounts to for one model, before any weight is loaded.

use std::sync::Arc;

use mobillm_bundle::Bundle;
use mobillm_core::backbone::{BackboneContext, BackboneInfo};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::PolicyInfo;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::registry::Slot;
use mobillm_core::sample::Objective;
use mobillm_core::selector::Selector;
use mobillm_core::side_network::SideNetworkContext;
use mobillm_wire::handshake::{Hello, RunId};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Config, ConfigErrors, Loaded};
use crate::device::taps::TapPath;
use crate::egress::Egress;
use crate::environment::Environment;
use crate::error::RunError;

/// Where each slot stands in a config.
const COMPONENTS: [(&str, Slot); 7] = [
    ("device.backbone", Slot::Backbone),
    ("device.selector", Slot::Selector),
    ("device.privacy", Slot::PrivacyPolicy),
    ("device.quantizer", Slot::Quantizer),
    ("link.transport", Slot::Transport),
    ("server.side_network", Slot::SideNetwork),
    ("device.predictor", Slot::SideNetwork),
];

/// A config that fits a model: all dimensions known, all pairs checked, no weight loaded.
pub struct Assembly {
    /// The frozen model.
    pub bundle: Bundle,
    /// Its dimensions, `max_tokens` lowered to the config's.
    pub info: BackboneInfo,
    /// The tapped layers.
    pub taps: Vec<usize>,
    /// What is learnt.
    pub objective: Objective,
    /// Names what device and server must have in common.
    pub pipeline: Fingerprint,
    /// What the policy says about itself.
    pub policy: PolicyInfo,
    /// Everything that leaves.
    pub egress: Egress,
    /// Says how many rows of a sample leave.
    pub selector: Box<dyn Selector>,
    /// Encodes what leaves.
    pub quantizer: Arc<dyn Quantizer>,
    context: SideNetworkContext,
    components: Vec<Component>,
}

/// One filled slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Where it stands in the config.
    pub key: &'static str,
    /// The place it fills.
    pub slot: Slot,
    /// Its `type`.
    pub tag: String,
    /// The crate it comes from.
    pub origin: &'static str,
    /// Whether it is linked in or loaded.
    pub linkage: &'static str,
}

impl Assembly {
    /// Puts the stages of `loaded` together for the model that it names.
    ///
    /// # Errors
    /// If the bundle cannot be used, or with every mistake that only the model's dimensions show.
    pub fn new(loaded: &Loaded, environment: &Environment) -> Result<Self, RunError> {
        let config = &loaded.config;
        let path = environment.required(loaded, "device.bundle", "the model")?;
        let bundle = Bundle::open(&path)?;
        let mut info = bundle.info().clone();
        info.max_tokens =
            config.device.max_tokens.map_or(info.max_tokens, |n| n.min(info.max_tokens));
        let objective = config.task.objective();
        // What cannot be built is not asked for its layers.
        let mistakes = config.device.selector.check(&info);
        report(loaded, vec![("device.selector", mistakes)])?;
        let selector = config.device.selector.build(&info);
        let taps = selector.layers(&info);
        let context = SideNetworkContext {
            taps: taps.clone(),
            hidden: info.hidden,
            pooling: info.pooling,
            objective,
            optimizer: config.training.optimizer,
            steps: 0,
            seed: config.training.seed,
            bundle: info.bundle,
        };
        check(loaded, &info, &context)?;
        let quantizer: Arc<dyn Quantizer> = Arc::from(config.device.quantizer.build());
        let policy = config.device.privacy.build(&objective).info();
        let overhead = config.link.transport.build().overhead();
        let pipeline = pipeline(loaded);
        // A run's own id is as long as this one.
        let hello = Hello::new(RunId("0".repeat(32)), pipeline, context.clone(), 0);
        let egress = Egress::new(&hello, &*quantizer, &policy, overhead);
        Ok(Self {
            bundle,
            info,
            taps,
            objective,
            pipeline,
            policy,
            egress,
            selector,
            quantizer,
            context,
            components: components(loaded, environment),
        })
    }

    /// What the server builds the side network from, for a run of `steps` steps.
    pub fn side_network(&self, steps: u64) -> SideNetworkContext {
        SideNetworkContext { steps, ..self.context.clone() }
    }

    /// Loads the backbone, after a look at every byte of its bundle, and puts the device's half of the
    /// walk together.
    ///
    /// # Errors
    /// If the bundle is damaged or the backbone cannot be loaded.
    pub fn tap_path(
        &self,
        config: &Config,
        environment: &Environment,
    ) -> Result<TapPath, RunError> {
        self.bundle.verify()?;
        let context = BackboneContext {
            bundle: self.bundle.path().to_owned(),
            taps: self.taps.clone(),
            libraries: environment.libraries.clone(),
        };
        let backbone = config.device.backbone.build(&context)?;
        let selector = config.device.selector.build(&self.info);
        let policy = config.device.privacy.build(&self.objective);
        Ok(TapPath::new(backbone, selector, policy, self.bundle.padding()))
    }

    /// All of this for people and for snapshots: components, edges, what leaves.
    pub fn describe(&self) -> Value {
        let info = &self.info;
        let row = self.quantizer.row_bytes(info.hidden);
        let (hidden, taps) = (info.hidden, self.taps.len());
        let outputs = self.objective.outputs();
        let tokens = 32.min(info.max_tokens);
        let rows = self.selector.rows(tokens) as u64;
        json!({
            "model": info,
            "taps": self.taps,
            "objective": self.objective,
            "pipeline": self.pipeline,
            "components": self.components,
            "edges": [
                edge("backbone", "selector", json!(["batch", "tokens", hidden]), "f32", taps),
                edge("selector", "privacy policy", json!(["rows", hidden]), "f32", taps),
                edge("privacy policy", "quantizer", json!(["rows", hidden]), "f32", taps),
                edge("quantizer", "transport", json!(["rows", row]), "bytes", taps),
                edge("transport", "side network", json!(["rows", hidden]), "f32", taps),
                edge("side network", "answer", json!(["batch", outputs]), "f32", 1),
            ],
            "egress": self.egress,
            "bytes_per_sample": { "tokens": tokens, "rows": rows,
                                  "bytes": self.egress.bytes_per_sample(rows) },
        })
    }
}

/// What goes from one stage to the next, `times` times a micro-batch.
fn edge(from: &str, to: &str, shape: Value, values: &str, times: usize) -> Value {
    json!({ "from": from, "to": to, "shape": shape, "type": values, "times": times })
}

/// Every mistake that only the model's dimensions show.
fn check(
    loaded: &Loaded,
    info: &BackboneInfo,
    context: &SideNetworkContext,
) -> Result<(), ConfigErrors> {
    let Config { device, link, server, .. } = &loaded.config;
    report(
        loaded,
        vec![
            ("device.backbone", device.backbone.check(info)),
            ("device.privacy", device.privacy.check(&context.objective)),
            ("device.quantizer", device.quantizer.check(info.hidden)),
            ("link.transport", link.transport.check()),
            ("server.side_network", server.side_network.check(context)),
            ("device.predictor", device.predictor.check(context)),
        ],
    )
}

/// All of `found`, with the places where they stand in the config.
fn report(loaded: &Loaded, found: Vec<(&str, Vec<Diagnostic>)>) -> Result<(), ConfigErrors> {
    let diagnostics: Vec<Diagnostic> = found
        .into_iter()
        .flat_map(|(key, found)| found.into_iter().map(move |diagnostic| diagnostic.under(key)))
        .collect();
    if diagnostics.is_empty() { Ok(()) } else { Err(loaded.errors(diagnostics)) }
}

/// Names what must be the same in the configs of device and server. The bundle is not among it: the
/// server learns of the model from the device's hello.
pub fn pipeline(loaded: &Loaded) -> Fingerprint {
    let resolved = loaded.resolved();
    let common: Vec<&Value> = [
        "/task/kind",
        "/task/labels",
        "/device/selector",
        "/device/privacy",
        "/device/quantizer",
        "/server/side_network",
        "/training",
    ]
    .iter()
    .map(|pointer| resolved.pointer(pointer).unwrap_or(&Value::Null))
    .collect();
    Fingerprint::of(json!([mobillm_wire::VERSION, common]).to_string().as_bytes())
}

fn components(loaded: &Loaded, environment: &Environment) -> Vec<Component> {
    COMPONENTS
        .iter()
        .filter_map(|&(key, slot)| {
            let pointer = format!("/{}/type", key.replace('.', "/"));
            let tag = loaded.resolved().pointer(&pointer)?.as_str()?;
            let entry = environment.registry.entry(slot, tag)?;
            let (tag, origin) = (tag.to_owned(), entry.origin);
            Some(Component { key, slot, tag, origin, linkage: "static" })
        })
        .collect()
}
