//! `mobillm run`: what it prints, and what it leaves.

use std::fs;

use crate::setup::{STEPS, Setup, assert_tidy, lines, names, succeeded};

#[test]
fn a_run_prints_its_result_and_leaves_a_whole_folder() {
    let setup = Setup::new();
    let output = setup.output(&["run", "toy.toml", "--out", "run"]);
    let table = succeeded(&output);
    for words in [" toy ", "accuracy  ", "accuracy before", "F1 of happy", "wall time"] {
        assert!(table.contains(words), "{words:?} is not in:\n{table}");
    }
    assert!(table.contains("\nTry it: "), "{table}");
    assert!(table.ends_with("mobillm predict run \"TEXT\"\n"), "{table}");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("training  48 rows: "), "{notes}");
    for epoch in 1..=4 {
        assert!(notes.contains(&format!("epoch {epoch}: accuracy ")), "{notes}");
    }
    // Bars and colours are for terminals.
    assert!(!notes.contains(['\r', '\u{1b}']), "{notes:?}");

    let folder = setup.path("run");
    let steps: Vec<_> = lines(&folder.join("metrics.jsonl"))
        .iter()
        .map(|line| line["step"].as_u64().unwrap() as usize)
        .collect();
    assert_eq!(steps, (0..4 * STEPS).collect::<Vec<_>>());
    let names = names(&folder);
    assert!(names.iter().any(|name| name.starts_with("events.out.tfevents.")), "{names:?}");
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    for resolved in ["checkpoint_steps = 5", "held_out_share = 0.2", "type = \"labels\""] {
        assert!(config.contains(resolved), "{resolved:?} is not in:\n{config}");
    }
    assert_tidy(&folder);
}

#[test]
fn a_run_leaves_a_report() {
    let setup = Setup::new();
    setup.succeeds(&["run", "toy.toml", "--out", "run"]);
    let read = |name: &str| fs::read_to_string(setup.path("run").join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&read("compare.json")).unwrap();
    let variant = &report["variants"][0];
    assert_eq!((&variant["name"], &variant["runs"][0]["seed"]), (&"toy".into(), &0.into()));
    let summary: serde_json::Value = serde_json::from_str(&read("summary.json")).unwrap();
    assert_eq!(variant["runs"][0]["outcome"]["finished"], summary);
    assert!(read("report.html").starts_with("<!DOCTYPE html>"));
}

#[test]
fn a_report_that_cannot_be_written_does_not_keep_the_result_from_being_shown() {
    let setup = Setup::new();
    // A folder where a file should be: it cannot be replaced.
    fs::create_dir_all(setup.path("run/report.html")).unwrap();
    let output = setup.output(&["run", "toy.toml", "--out", "run"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("error: cannot write run/report.html: "), "{error}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("accuracy before") && table.contains("\nTry it: "), "{table}");
}

#[test]
fn the_json_of_a_run_is_its_summary_and_nothing_else() {
    let setup = Setup::new();
    let summary = setup.json(&["run", "toy.toml", "--out", "run", "--json"]);
    let written = fs::read(setup.path("run/summary.json")).unwrap();
    assert_eq!(summary, serde_json::from_slice::<serde_json::Value>(&written).unwrap());
    assert_eq!(summary["format"], 2);
    assert_eq!(summary["variant"], "toy");
    assert_eq!(summary["eval"]["metric"], "accuracy");
    assert!(summary["device"]["peak_rss_bytes"].is_null(), "device and server share a process");
    for share in ["before", "after", "macro_f1", "positive_f1"] {
        let share = summary["eval"][share].as_f64();
        assert!(share.is_some_and(|share| (0.0..=1.0).contains(&share)), "{summary}");
    }
    let figures = [
        "/device/forward_seconds",
        "/device/eval_seconds",
        "/device/samples_forwarded",
        "/link/bytes_up",
        "/link/bytes_down",
        "/link/bytes_up_per_sample",
        "/server/train_seconds",
        "/server/steps",
        "/epochs/3/seconds",
        "/epochs/3/device_seconds",
        "/epochs/3/bytes_up",
        "/epochs/3/train_loss",
        "/wall_seconds",
    ];
    for pointer in figures {
        let figure = summary.pointer(pointer).and_then(|figure| figure.as_f64());
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {figure:?}");
    }
    assert_eq!(summary["epochs"].as_array().unwrap().len(), 4);
    assert!(summary["epochs"][3]["eval"].is_object(), "{summary}");
    assert_eq!(summary["server"]["steps"], 4 * STEPS);
    assert_eq!(summary["device"]["samples_forwarded"], 4 * 48);
}

#[test]
fn a_quiet_run_says_nothing_but_its_result() {
    let setup = Setup::new();
    let output = setup.output(&["run", "toy.toml", "--quiet"]);
    assert!(succeeded(&output).contains("accuracy before"));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(setup.path("runs/toy/summary.json").exists(), "the folder bears the config's name");
}

#[test]
fn a_finished_run_is_not_trained_over_unless_asked() {
    let setup = Setup::new();
    let again = ["run", "toy.toml", "--out", "run"];
    setup.succeeds(&again);
    assert!(setup.fails(1, &again).contains("the run is finished; begin afresh with --fresh"));
    let adapter = setup.adapter("run");
    let fresh = ["run", "toy.toml", "--out", "run", "--fresh", "--set", "training.seed=3"];
    setup.succeeds(&fresh);
    assert_ne!(setup.adapter("run"), adapter);
}
