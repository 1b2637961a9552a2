//! A run in one process that is stopped or killed goes on, and ends as if nothing had happened.

use std::os::unix::process::ExitStatusExt;

use crate::setup::{Running, STEPS, Setup, assert_tidy, assert_whole, failed, lines};

/// Enough epochs that the run is still under way when the signal comes.
const EPOCHS: usize = 24;
const LONG: [&str; 4] = ["run", "toy.toml", "--set", "training.epochs=24"];

fn long(out: &str) -> [&str; 6] {
    let [run, config, set, epochs] = LONG;
    [run, config, set, epochs, "--out", out]
}

/// Starts the long run in `cut` and sends `signal` in its third epoch.
fn interrupted(setup: &Setup, signal: &str) -> std::process::Output {
    let mut run = Running::start(setup.command(&long("cut")));
    run.wait_for("epoch 2:");
    run.signal(signal);
    let output = run.end();
    assert!(!setup.path("cut/summary.json").exists(), "the signal came too late");
    assert_whole(&setup.path("cut"));
    output
}

/// Goes on with the run in `cut` and compares its end with that of an undisturbed run.
fn goes_on(setup: &Setup) {
    let summary = setup.json(&[&long("cut")[..], &["--json"]].concat());
    let undisturbed = setup.json(&[&long("whole")[..], &["--json"]].concat());
    assert!(setup.adapter("cut") == setup.adapter("whole"), "the adapters differ");
    assert_eq!(summary["eval"], undisturbed["eval"]);
    assert_eq!(summary["epochs"].as_array().unwrap().len(), EPOCHS);
    let book = |out: &str| -> Vec<_> {
        let lines = lines(&setup.path(out).join("metrics.jsonl"));
        lines.into_iter().map(|line| (line["step"].clone(), line["loss"].clone())).collect()
    };
    assert_eq!(book("cut").len(), EPOCHS * STEPS);
    assert_eq!(book("cut"), book("whole"));
    assert_tidy(&setup.path("cut"));
}

#[test]
fn ctrl_c_stops_a_run_that_then_goes_on() {
    let setup = Setup::new();
    let errors = failed(130, &interrupted(&setup, "INT"));
    assert!(errors.contains("the same command goes on from here"), "{errors}");
    // What was learnt so far can be used.
    let answers = setup.succeeds(&["predict", "cut", "the good tap"]);
    assert!(answers.ends_with("\tthe good tap\n"), "{answers}");
    goes_on(&setup);
}

#[test]
fn a_killed_run_goes_on() {
    let setup = Setup::new();
    let output = interrupted(&setup, "KILL");
    assert_eq!(output.status.signal(), Some(9));
    goes_on(&setup);
}

#[test]
fn two_processes_cannot_have_one_run_folder() {
    let setup = Setup::new();
    let mut run = Running::start(setup.command(&long("run")));
    run.wait_for("epoch 1:");
    for more in [&[][..], &["--fresh"]] {
        let error = setup.fails(1, &[&long("run")[..], more].concat());
        assert!(error.contains("another mobillm process is using it"), "{error}");
    }
    run.signal("INT");
    failed(130, &run.end());
}
