use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::backbone::Pooling;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::side_network::{
    Optimizer, SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError,
};
use serde_json::json;

use crate::libraries::config;
use crate::{CLASSES, in_c, in_rust, names};

fn panicking(at: &str) -> Box<dyn SideNetworkConfig> {
    config("hostile.panics", json!({ "at": at }))
}

fn context() -> SideNetworkContext {
    SideNetworkContext {
        taps: vec![1],
        hidden: 2,
        pooling: Pooling::Mean,
        objective: CLASSES,
        supervision: SupervisionKind::Truth,
        optimizer: Optimizer::default(),
        steps: 1,
        seed: 0,
        bundle: Fingerprint([0; 32]),
    }
}

fn call(network: &mut dyn SideNetwork, call: &str) -> Result<(), SideNetworkError> {
    let batch = ActivationBatch::new(Layout::from_counts([1]), 2, vec![vec![1.0; 2]]).unwrap();
    match call {
        "train_step" => network.train_step(&batch, &[Supervision::Label(1)]).map(drop),
        "predict" => network.predict(&batch).map(drop),
        "adapter" => network.adapter().map(drop),
        "checkpoint" => network.checkpoint().map(drop),
        "restore" => network.restore(b"nothing"),
        _ => unreachable!("{call}"),
    }
}

#[test]
fn a_panic_is_contained() {
    let library = in_rust();
    let blew = |message: &str, at: &str| {
        let call = format!("{at} panicked");
        names(message, "side network `hostile.panics`", &library, &call, "blew");
    };
    blew(&panicking("check").check(&context())[0].to_string(), "check");
    for at in ["build", "info"] {
        blew(&panicking(at).build(&context()).err().unwrap().to_string(), at);
    }
    for at in ["load", "info"] {
        blew(&panicking(at).load(b"nothing").err().unwrap().to_string(), at);
    }
    let calls = ["train_step", "predict", "adapter", "checkpoint", "restore"];
    for at in calls {
        let mut network = panicking(at).build(&context()).unwrap();
        for sound in calls.into_iter().filter(|call| *call != at) {
            call(network.as_mut(), sound).unwrap();
        }
        blew(&call(network.as_mut(), at).unwrap_err().to_string(), at);
        for poisoned in calls {
            let error = call(network.as_mut(), poisoned).unwrap_err().to_string();
            assert!(error.contains("panicked before"), "{error}");
        }
    }
}

#[test]
fn lies_are_told() {
    let library = in_c();
    let of = |fault: &str| -> Box<dyn SideNetworkConfig> {
        config(&format!("hostile.{fault}"), json!({}))
    };
    let lied = |fault: &str, error: SideNetworkError, call: &str, expected: &str| {
        let call = format!("{call} gave something wrong");
        let name = format!("side network `hostile.{fault}`");
        names(&error.to_string(), &name, &library, &call, expected);
    };
    for (fault, expected) in [
        ("endless-engine", "the engine's name has 399 bytes, expected at most 256"),
        ("endless-classes", "18446744073709551615 outputs, expected at most"),
    ] {
        lied(fault, of(fault).build(&context()).err().unwrap(), "info", expected);
        lied(fault, of(fault).load(b"zeros").err().unwrap(), "info", expected);
    }
    let mut network = of("no-report").build(&context()).unwrap();
    let error = call(network.as_mut(), "train_step").unwrap_err();
    lied("no-report", error, "train_step", "missing field `loss`");
    call(network.as_mut(), "predict").unwrap();
}
