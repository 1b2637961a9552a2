//! What is wrong with a config, its model and its data is told at once, and nothing that only follows from it.

use std::fs;

use mobillm::RunError;
use mobillm::check::sound;
use mobillm::config::Draft;
use mobillm::pipeline::prepare;

use crate::setup::{Notes, Setup};

/// What is wrong with `text` and `sets`, without the file and the lines it is about.
fn told(setup: &Setup, text: &str, sets: &[&str]) -> Vec<String> {
    let path = setup.path("config.toml");
    fs::write(&path, text).unwrap();
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let registry = &setup.environment.registry;
    let checked = Draft::read(&path, &sets, registry).map_err(RunError::from);
    let prepared = checked
        .and_then(|draft| sound(draft, &setup.environment))
        .and_then(|loaded| prepare(&loaded, &setup.environment, &Notes::default().watch()));
    match prepared.map(drop) {
        Ok(()) => Vec::new(),
        Err(RunError::Config(errors)) => {
            errors.mistakes().iter().map(|mistake| mistake.diagnostic.to_string()).collect()
        }
        Err(other) => vec![format!("alone: {other}")],
    }
}

/// Holds that just these things are told, each beginning so, whatever their order.
#[track_caller]
fn is_told(told: &[String], expected: &[&str]) {
    let is_there = |start: &&str| told.iter().any(|told| told.starts_with(*start));
    assert!(told.len() == expected.len() && expected.iter().all(is_there), "{told:#?}");
}

const ADDITIVE: &str = "server.side_network.architecture={type=\"additive-adapter\", rank=8}";
const NO_DATA: &str = "task.train=\"nowhere.tsv\"";
const NO_MODEL: &str = "device.bundle=\"nowhere\"";

#[test]
fn a_sound_config_has_no_mistake() {
    let setup = Setup::new();
    assert_eq!(told(&setup, &setup.config_text(), &[]), Vec::<String>::new());
}

#[test]
fn mistakes_of_all_phases_come_together() {
    let setup = Setup::new();
    let sets = [
        "device.micro_batch=0",
        "device.predictor={type=\"candle\", threds=2}",
        "device.quantizer={type=\"nf4\", block=48}",
        NO_DATA,
        ADDITIVE,
    ];
    is_told(
        &told(&setup, &setup.config_text(), &sets),
        &[
            "device.micro_batch: got `0`",
            "device.predictor.threds: unknown key",
            "device.quantizer.block: blocks of 48 values",
            "task.train: ",
            "server.side_network.architecture.type: `additive-adapter` does not fit",
        ],
    );
}

#[test]
fn what_is_missing_keeps_nothing_else_from_being_checked() {
    let setup = Setup::new();
    let text = setup.config_text();
    let data = "device.privacy={type=\"labels\", own_prediction=true}";
    let both = [NO_MODEL, NO_DATA, "task.held_out=\"nobody.tsv\""];
    is_told(&told(&setup, &text, &both), &["device.bundle: ", "task.train: ", "task.held_out: "]);
    // A policy looks at the task alone, and a task that is no task has no data.
    let regression = text.replace("labels = [", "kind = \"regression\"\nrange = [0, 1] #");
    let regression = regression.replace("positive =", "#");
    is_told(
        &told(&setup, &regression, &[NO_MODEL, data]),
        &["device.bundle: ", "device.privacy.own_prediction: ", "task.train: "],
    );
    is_told(
        &told(&setup, &text, &["task.positive=\"calm\"", NO_DATA, ADDITIVE]),
        &["task.positive: `calm` is not a label"],
    );
}

#[test]
fn a_file_that_alone_is_wrong_is_told_where_it_is_named() {
    let setup = Setup::new();
    let text = setup.config_text();
    is_told(&told(&setup, &text, &[NO_DATA]), &["task.train: "]);
    is_told(&told(&setup, &text, &[NO_MODEL]), &["device.bundle: "]);
    is_told(&told(&setup, &text, &["device.bundle=\"pull:tiny\""]), &["device.bundle: the model"]);
    fs::write(setup.path("one.tsv"), "text\tmood\na tap\tsad\nb tap\tsad\n").unwrap();
    let constant = text.replace("\"toy.tsv\"", "\"one.tsv\"\nheld_out = \"toy.tsv\"");
    let told = told(&setup, &constant, &[]);
    is_told(&told, &["task.train: "]);
    assert!(told[0].contains("all 2 training rows have the answer `sad`"), "{told:?}");
}

#[test]
fn a_prompt_that_leaves_no_room_for_a_text_is_told_with_the_rest() {
    let setup = Setup::new();
    // With the marks of the model it has five tokens.
    let prompt = "task.prompt={template=\"the {text} tap gets\"}";
    let at = |max_tokens: &str, other: &str| {
        told(&setup, &setup.config_text(), &[prompt, max_tokens, other])
    };
    let problem =
        "task.prompt.template: the template of `task.prompt` has 5 tokens, but max_tokens is 5";
    is_told(&at("device.max_tokens=5", ADDITIVE)[..1], &[problem]);
    is_told(&at("device.max_tokens=5", NO_DATA), &[problem, "task.train: "]);
    assert_eq!(at("device.max_tokens=6", "task.name=\"toy\""), Vec::<String>::new());
}

#[test]
fn what_follows_from_a_mistake_is_not_told() {
    let setup = Setup::new();
    let text = setup.config_text();
    // What was meant is not known, so nothing that would have to fit it is judged.
    for unsound in [
        "device.privcy={type=\"prediction-difference\"}",
        "device.privacy={type=\"prediction-difference\", clipp=1}",
        "device.privacy={type=\"prediction-diference\"}",
        "device.selector={type=\"every-nth-layer\", n=0}",
        "device.selector={type=\"chosen-layers\", layers=[9]}",
        "task.labels=\"sad, happy\"",
    ] {
        let found = told(&setup, &text, &[unsound, ADDITIVE]);
        assert_eq!(found.len(), 1, "{unsound}: {found:#?}");
    }
    // A column is not missed in a file that was to be read otherwise.
    let found = told(&setup, &text, &["task.headr=false", "task.columns.text=\"body\""]);
    is_told(&found, &["task.headr: unknown key"]);
}
