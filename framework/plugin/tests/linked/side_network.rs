//! Side networks behind the door.

use mobillm_adapter_candle::CandleSideNetworkConfig;
use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError, SideNetworkInfo,
    StepReport,
};
use mobillm_testkit::side_network::Toy;
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{loaded, native, panic};

/// The network of candle, but for one thing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MischiefConfig {
    what: String,
}

impl Plugin for MischiefConfig {
    const SLOT: Slot = Slot::SideNetwork;
    const TAG: &'static str = "test.mischief";
}

impl MischiefConfig {
    fn of(&self, network: Box<dyn SideNetwork>) -> Box<dyn SideNetwork> {
        let mut info = network.info().clone();
        match &*self.what {
            "another width" => info.hidden += 1,
            "many outputs" => info.objective = Objective::Classification { classes: usize::MAX },
            "more outputs" => info.objective = Objective::Classification { classes: 3 },
            _ => (),
        }
        Box::new(Mischief { what: self.what.clone(), info, network })
    }
}

#[typetag::serde(name = "test.mischief")]
impl SideNetworkConfig for MischiefConfig {
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        match &*self.what {
            "finding" => vec![Diagnostic::new("what", format!("not in {} steps", context.steps))],
            _ => Vec::new(),
        }
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        match &*self.what {
            "panic in build" => panic("from build"),
            _ => Ok(self.of(CandleSideNetworkConfig::default().build(context)?)),
        }
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        match &*self.what {
            "panic in load" => panic("from load"),
            _ => Ok(self.of(CandleSideNetworkConfig::default().load(adapter)?)),
        }
    }
}

struct Mischief {
    what: String,
    info: SideNetworkInfo,
    network: Box<dyn SideNetwork>,
}

impl SideNetwork for Mischief {
    fn info(&self) -> &SideNetworkInfo {
        &self.info
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        match &*self.what {
            "panic" => panic("from train_step"),
            "engine" => {
                let source = "out of memory".into();
                Err(SideNetworkError::Engine { engine: "test", source })
            }
            _ => self.network.train_step(batch, supervision),
        }
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        self.network.predict(batch)
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.network.adapter()
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        self.network.checkpoint()
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        self.network.restore(checkpoint)
    }
}

type Config = Box<dyn SideNetworkConfig>;

const TASK: (Objective, SupervisionKind) =
    (Objective::Classification { classes: 2 }, SupervisionKind::Truth);
const NAME: &str = "side network `test.mischief` of mobillm-plugin 0.1.0";

fn mischief(what: &str) -> Config {
    loaded("test.mischief", &json!({ "what": what }))
}

/// All that is told of a network that learns, is interrupted and goes on.
fn story(
    config: &dyn SideNetworkConfig,
    (objective, supervision): (Objective, SupervisionKind),
) -> impl PartialEq {
    let mut toy = Toy::new((objective, supervision), 6);
    assert_eq!(config.check(&toy.context), []);
    let mut network = config.build(&toy.context).unwrap();
    let mut reports = Vec::new();
    for step in 0..6 {
        if step == 3 {
            let checkpoint = network.checkpoint().unwrap();
            network = config.build(&toy.context).unwrap();
            network.restore(&checkpoint).unwrap();
        }
        let (batch, targets) = toy.batch();
        let StepReport { step, loss, learning_rate } =
            network.train_step(&batch, &targets).unwrap();
        reports.push((step, loss.to_bits(), learning_rate.to_bits()));
    }
    let adapter = network.adapter().unwrap();
    let again = config.load(&adapter).unwrap();
    let batch = toy.batch().0;
    let scores = [&network, &again].map(|network| network.predict(&batch).unwrap());
    (reports, network.info().clone(), network.checkpoint().unwrap(), adapter, scores)
}

#[test]
fn a_network_learns_the_same_on_either_side() {
    let additive = json!({ "architecture": { "type": "additive-adapter" } });
    let mut told = 0;
    for (options, supervision) in [
        (json!({}), SupervisionKind::Truth),
        (additive.clone(), SupervisionKind::Difference),
        (additive, SupervisionKind::TruthAndOwn),
    ] {
        let here: Config = native("candle", &options);
        let there: Config = loaded("candle", &options);
        for objective in [Objective::Classification { classes: 3 }, Objective::Regression] {
            let (task, context) =
                ((objective, supervision), Toy::new((objective, supervision), 6).context);
            assert_eq!(here.check(&context), there.check(&context));
            if here.check(&context).is_empty() {
                assert!(story(&*here, task) == story(&*there, task), "{options}, {task:?}");
                told += 1;
            }
        }
    }
    assert_eq!(told, 5, "a regression has no logits to add to");
}

#[test]
fn what_is_wrong_is_told_the_same_on_either_side() {
    let told = |config: Config| {
        let mut toy = Toy::new(TASK, 6);
        let mut network = config.build(&toy.context).unwrap();
        let (batch, targets) = toy.batch();
        let checkpoint = network.checkpoint().unwrap();
        let another = |value: f32| {
            let (layout, hidden) = (batch.layout().clone(), batch.hidden());
            let taps =
                (0..batch.taps()).map(|tap| batch.tap(tap).iter().map(|x| x * value).collect());
            ActivationBatch::new(layout, hidden, taps.collect()).unwrap()
        };
        let few = ActivationBatch::new(Layout::from_counts([1]), 24, vec![vec![0.0; 24]]).unwrap();
        let wrong = [Supervision::Difference(vec![0.0; 2])];
        let errors = [
            network.train_step(&few, &targets[..1]).unwrap_err(),
            network.train_step(&few, &wrong).unwrap_err(),
            network.train_step(&another(f32::NAN), &targets).unwrap_err(),
            network.predict(&few).unwrap_err(),
            network.restore(&checkpoint[..40]).unwrap_err(),
            config.load(b"no adapter").err().unwrap(),
            config.load(&checkpoint).err().unwrap(),
        ];
        assert!(network.checkpoint().unwrap() == checkpoint, "what is refused changes nothing");
        errors.map(|error| format!("{error:?}"))
    };
    assert_eq!(told(native("candle", &json!({}))), told(loaded("candle", &json!({}))));
    let mut toy = Toy::new(TASK, 6);
    let config: Config = loaded("candle", &json!({}));
    let mut network = config.build(&toy.context).unwrap();
    let (batch, targets) = toy.batch();
    let error = network.train_step(&batch, &targets[1..]).unwrap_err();
    assert_eq!(error.to_string(), "batch: 11 targets for 12 samples");
    let none = ActivationBatch::new(batch.layout().clone(), 24, Vec::new()).unwrap();
    let error = network.predict(&none).unwrap_err();
    assert_eq!(error.to_string(), "batch: it has no taps");
}

#[test]
fn a_lying_info_is_found_out() {
    let toy = Toy::new(TASK, 6);
    let lied = format!("{NAME}: info gave something wrong: ");
    for (what, misfit) in [("another width", "hidden size: got "), ("more outputs", "task: got ")] {
        let error = mischief(what).build(&toy.context).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{lied}{misfit}")), "{error}");
    }
    let adapter = mischief("").build(&toy.context).unwrap().adapter().unwrap();
    for network in
        [mischief("many outputs").build(&toy.context), mischief("many outputs").load(&adapter)]
    {
        let error = network.err().unwrap().to_string();
        assert!(error.starts_with(&format!("{lied}18446744073709551615 outputs")), "{error}");
    }
    let network = mischief("more outputs").load(&adapter).unwrap();
    let error = network.predict(&toy.clone().batch().0).unwrap_err().to_string();
    let problem = "predict failed: scores of [12, 2], expected [12, 3]";
    assert!(error.starts_with(&format!("{NAME}: {problem}")), "{error}");
}

#[test]
fn a_panic_ends_at_the_door() {
    let mut toy = Toy::new(TASK, 6);
    let error = |error: SideNetworkError| error.to_string();
    for (what, call) in [("panic in build", "build"), ("panic in load", "load")] {
        let failed = match call {
            "build" => mischief(what).build(&toy.context).err(),
            _ => mischief(what).load(&[]).err(),
        };
        let failed = error(failed.unwrap());
        assert!(failed.starts_with(&format!("{NAME}: {call} panicked: from {call}; ")), "{failed}");
    }
    let mut network = mischief("panic").build(&toy.context).unwrap();
    let (batch, targets) = toy.batch();
    let panicked = error(network.train_step(&batch, &targets).unwrap_err());
    assert!(
        panicked.starts_with(&format!("{NAME}: train_step panicked: from train_step; ")),
        "{panicked}"
    );
    let later = error(network.predict(&batch).unwrap_err());
    assert_eq!(
        later,
        format!(
            "{NAME}: predict was not called, because train_step panicked before: from train_step"
        )
    );
    assert!(error(network.checkpoint().unwrap_err()).contains("was not called"));

    let mut network = mischief("engine").build(&toy.context).unwrap();
    let failed = error(network.train_step(&batch, &targets).unwrap_err());
    assert_eq!(failed, format!("{NAME}: train_step failed: test: out of memory"));
    assert!(network.predict(&batch).is_ok(), "a network that failed goes on");
}

#[test]
fn what_is_wrong_with_options_is_found() {
    let context = Toy::new(TASK, 6).context;
    let found = mischief("finding").check(&context);
    assert_eq!(found, [Diagnostic::new("what", "not in 6 steps")]);
    let config = |options: Value| -> Config { loaded("candle", &options) };
    let found = config(json!({ "threats": 2 })).check(&context);
    assert!(found[0].message.contains("the options: unknown field `threats`"), "{found:?}");
}
