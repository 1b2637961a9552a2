//! What a config amounts to for one model, before any weight is loaded.

use std::sync::Arc;

use mobillm_bundle::Bundle;
use mobillm_core::backbone::{BackboneContext, BackboneInfo};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::{PolicyInfo, SupervisionKind};
use mobillm_core::quantizer::Quantizer;
use mobillm_core::registry::{Entry, Slot};
use mobillm_core::sample::Objective;
use mobillm_core::selector::Selector;
use mobillm_core::side_network::SideNetworkContext;
use mobillm_plugin::Manifest;
use mobillm_wire::handshake::{Hello, RunId, Work};
use serde::Serialize;
use serde_json::{Value, json};

use crate::check::{self, Findings, Model};
use crate::config::{Config, Loaded, OwnPrediction};
use crate::device::own::Own;
use crate::device::taps::TapPath;
use crate::egress::Egress;
use crate::environment::Environment;
use crate::error::RunError;

/// Where each slot stands in a config.
pub(crate) const COMPONENTS: [(&str, Slot); 7] = [
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
    /// Says how many rows of a sample leave.
    pub selector: Box<dyn Selector>,
    /// Encodes what leaves.
    pub quantizer: Arc<dyn Quantizer>,
    context: SideNetworkContext,
    label_tokens: Vec<u32>,
    /// The model's own head, if it has one that the device is to predict with.
    head: Option<Own>,
    /// Whether the server keeps samples.
    cached: bool,
    /// Bytes that the transport adds to a frame.
    overhead: usize,
    components: Vec<Component>,
    libraries: Vec<Manifest>,
}

/// One filled slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Where it stands in the config.
    pub key: &'static str,
    /// The place it fills.
    pub slot: Slot,
    /// Its `type`.
    pub tag: &'static str,
    /// The crate or library it comes from.
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
        Self::of(loaded, environment).map_err(|found| found.into_error(&loaded.origin))
    }

    pub(crate) fn of(loaded: &Loaded, environment: &Environment) -> Result<Self, Findings> {
        let config = &loaded.config;
        let Model { bundle, info, label_tokens, selector, policy, context } =
            check::model(&config.into(), &loaded.origin, environment)?;
        let has_head =
            config.device.own_prediction == OwnPrediction::Head && info.own_outputs.is_some();
        let head = has_head.then_some(Own::Head { range: config.task.range });
        let quantizer: Arc<dyn Quantizer> = Arc::from(config.device.quantizer.build());
        Ok(Self {
            bundle,
            info,
            taps: context.taps.clone(),
            objective: context.objective,
            pipeline: pipeline(loaded),
            policy,
            selector,
            quantizer,
            context,
            label_tokens,
            head,
            cached: config.server.store.caches(),
            overhead: config.link.transport.build().overhead(),
            components: components(loaded),
            libraries: loaded.libraries(),
        })
    }

    /// What the server builds the side network from, for a run of `steps` steps.
    pub fn side_network(&self, steps: u64) -> SideNetworkContext {
        SideNetworkContext { steps, ..self.context.clone() }
    }

    /// Everything that leaves the device, before the data is known: the numbers of samples and steps in
    /// the hello, which is JSON, count as one digit each.
    pub fn egress(&self) -> Egress {
        self.egress_of(Work::default(), 0)
    }

    /// Everything that leaves the device in a run of `steps` steps over `work`.
    pub fn egress_of(&self, work: Work, steps: u64) -> Egress {
        // A run's own id is as long as this one.
        let run = RunId("0".repeat(32));
        let hello = Hello::new(run, self.pipeline, self.side_network(steps), work);
        Egress::new(&hello, &*self.quantizer, &self.policy.guarantee, self.overhead)
    }

    /// The tokens of the task's label words; empty if the model's own prediction is not made of them.
    pub fn label_tokens(&self) -> &[u32] {
        &self.label_tokens
    }

    /// What the device predicts by itself, whose training rows have the prior `prior`.
    pub fn own(&self, prior: Vec<f32>) -> Own {
        self.head.clone().unwrap_or(Own::Prior(prior))
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
        own: Own,
    ) -> Result<TapPath, RunError> {
        self.bundle.verify()?;
        let context = BackboneContext {
            bundle: self.bundle.path().to_owned(),
            taps: self.taps.clone(),
            label_tokens: self.label_tokens.clone(),
            libraries: environment.libraries.clone(),
        };
        let backbone = config.device.backbone.build(&context)?;
        let selector = config.device.selector.build(&self.info);
        let policy = config.device.privacy.build(&self.objective);
        Ok(TapPath::new(backbone, selector, policy, own, self.bundle.padding()))
    }

    /// All of this for people and for snapshots: components, edges, what leaves, and which dynamic libraries
    /// components come from.
    pub fn describe(&self) -> Value {
        let info = &self.info;
        let row = self.quantizer.row_bytes(info.hidden);
        let (hidden, taps) = (info.hidden, self.taps.len());
        let outputs = self.objective.outputs();
        let tokens = 32.min(info.max_tokens);
        let rows = self.selector.rows(tokens) as u64;
        let mut edges = vec![
            edge("backbone", "selector", json!(["batch", "tokens", hidden]), "f32", taps),
            edge("selector", "privacy policy", json!(["rows", hidden]), "f32", taps),
            edge("privacy policy", "quantizer", json!(["rows", hidden]), "f32", taps),
            edge("quantizer", "transport", json!(["rows", row]), "bytes", taps),
        ];
        let mut last = "transport";
        if self.cached {
            edges.push(edge(last, "store", json!(["rows", row]), "bytes", taps));
            last = "store";
        }
        edges.push(edge(last, "side network", json!(["rows", hidden]), "f32", taps));
        edges.push(edge("side network", "answer", json!(["batch", outputs]), "f32", 1));
        // What the server trains on is told apart: here is what the device adds it to.
        if self.context.supervision != SupervisionKind::Truth {
            let own = match self.head {
                None => "prior of labels",
                Some(_) if self.label_tokens.is_empty() => "task head",
                Some(_) => "label words",
            };
            edges.push(edge(own, "privacy policy", json!(["batch", outputs]), "f32", 1));
            edges.push(edge(own, "answer", json!(["batch", outputs]), "f32", 1));
        }
        let egress = self.egress();
        let mut described = json!({
            "model": info,
            "taps": self.taps,
            "objective": self.objective,
            "pipeline": self.pipeline,
            "components": self.components,
            "edges": edges,
            "egress": egress,
            "bytes_per_sample": { "tokens": tokens, "rows": rows,
                                  "bytes": egress.bytes_per_sample(rows) },
        });
        if !self.libraries.is_empty() {
            described["libraries"] = json!(self.libraries);
        }
        described
    }
}

/// What goes from one stage to the next, `times` times a micro-batch.
fn edge(from: &str, to: &str, shape: Value, values: &str, times: usize) -> Value {
    json!({ "from": from, "to": to, "shape": shape, "type": values, "times": times })
}

/// Names what must be the same in the configs of device and server. The bundle is not among it: the
/// server learns of the model from the device's hello.
pub fn pipeline(loaded: &Loaded) -> Fingerprint {
    let resolved = loaded.resolved();
    let mut common: Vec<&Value> = [
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
    let cached = Value::from(loaded.config.server.store.caches());
    common.push(&cached);
    Fingerprint::of(json!([mobillm_wire::VERSION, common]).to_string().as_bytes())
}

fn components(loaded: &Loaded) -> Vec<Component> {
    COMPONENTS
        .iter()
        .filter_map(|&(key, slot)| {
            let Entry { tag, origin, loaded: dynamic, .. } = loaded.component(key, slot)?;
            let linkage = if *dynamic { "loaded" } else { "static" };
            Some(Component { key, slot, tag, origin, linkage })
        })
        .collect()
}
