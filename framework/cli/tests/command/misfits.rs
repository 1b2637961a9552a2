//! Parts that do not fit each other: `check` and `run` say so before anything is begun.

use std::fs;

use mobillm_bundle::fixture::TinyBert;

use crate::setup::Setup;

/// What `mobillm check` and `mobillm run` say about `sets`.
#[track_caller]
fn refused(setup: &Setup, sets: &[&str], words: &[&str]) {
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    for command in [&["check", "toy.toml"][..], &["run", "toy.toml", "--out", "run"]] {
        let error = setup.fails(2, &[command, &sets].concat());
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        assert!(!setup.path("run").exists(), "a run was begun");
    }
}

#[test]
fn parts_that_do_not_fit_are_refused_with_what_to_do() {
    let setup = Setup::new();
    let difference = "device.privacy={type=\"prediction-difference\"}";
    let labels_and_own = "device.privacy={type=\"labels\", own_prediction=true}";
    let additive =
        "server.side_network={type=\"candle\", architecture={type=\"additive-adapter\"}}";
    let architecture = "server.side_network.architecture.type: ";
    for policy in [difference, labels_and_own] {
        let what_to_do = "use `architecture = { type = \"additive-adapter\" }`, or `privacy = ";
        refused(&setup, &[policy], &[architecture, "`parallel-adapter` does not fit", what_to_do]);
    }
    let what_to_do = "use `privacy = { type = \"prediction-difference\" }` or `privacy = ";
    refused(&setup, &[additive], &[architecture, "`additive-adapter` does not fit", what_to_do]);

    let regression = setup.path("toy.toml");
    let config = fs::read_to_string(&regression).unwrap();
    let config = config.replace("labels = [\"sad\", \"happy\"]", "kind = \"regression\"");
    let config = config.replace("positive = \"happy\"", "range = [0.0, 1.0]");
    setup.write("toy.toml", config);
    let no_logits = "device.privacy.own_prediction: a regression has no logits to add to";
    let what_to_do = "the policy `prediction-difference` sends what is left of the target";
    refused(&setup, &[labels_and_own, additive], &[no_logits, what_to_do]);
}

#[test]
fn a_head_of_another_task_is_refused_with_what_to_do() {
    let setup = Setup::new();
    TinyBert::with_head(3).bundle(&setup.path("three")).unwrap();
    let head = "device.own_prediction: the model's own head has 3 outputs, the task 2";
    let what_to_do = "expected `prior`; or a model whose head was trained for this task";
    refused(&setup, &["device.bundle=\"three\""], &[head, what_to_do]);
    // What to do helps.
    let prior = "device.own_prediction=\"prior\"";
    setup.succeeds(&["check", "toy.toml", "--set", "device.bundle=\"three\"", "--set", prior]);
}
