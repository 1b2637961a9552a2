//! `mobillm compare`: variants on the same work, in processes of their own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::setup::{Running, STEPS, Setup, assert_tidy, failed, names, succeeded};

/// The toy config under another name, with another quantizer.
const INT8: &str =
    "schema = 1\nextends = \"toy.toml\"\n[device]\nquantizer = { type = \"int8\" }\n";

fn setup() -> Setup {
    let setup = Setup::new();
    setup.write("int8.toml", INT8);
    setup
}

fn compare<'a>(configs: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["compare"], configs, &["--out", "out", "--seeds", "2"], more].concat()
}

/// Files under `folder` with what is in them, in the order of their names.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// The folder of a run; there must be one such variant only.
#[track_caller]
fn run_folder(setup: &Setup, variant: &str, seed: u64) -> PathBuf {
    let runs = setup.path("out/runs");
    let mut found = names(&runs);
    found.retain(|name| name.rsplit_once('-').unwrap().0 == variant);
    let [name] = &found[..] else { panic!("{found:?}") };
    runs.join(name).join(format!("seed-{seed}"))
}

/// Whether the folder of a variant has `file` in it.
fn has_come_to(setup: &Setup, file: &str) -> bool {
    let runs = fs::read_dir(setup.path("out/runs"));
    runs.is_ok_and(|mut runs| runs.any(|run| run.unwrap().path().join(file).exists()))
}

/// The one run of `variant` with `seed` in a compare.json.
fn outcome<'a>(comparison: &'a Value, variant: &str, seed: u64) -> &'a Value {
    let variants = comparison["variants"].as_array().unwrap();
    let variant = variants.iter().find(|found| found["name"] == variant).unwrap();
    let runs = variant["runs"].as_array().unwrap();
    &runs.iter().find(|run| run["seed"] == seed).unwrap()["outcome"]
}

/// Asserts that no process holds a folder under `folder`.
#[track_caller]
fn assert_nobody_is_left(folder: &Path) {
    let locks = files(folder).into_keys().filter(|path| path.ends_with(".lock"));
    let locks: Vec<PathBuf> = locks.collect();
    assert!(!locks.is_empty(), "there was nothing to hold");
    for lock in locks {
        let free = File::open(&lock).unwrap().try_lock();
        assert!(free.is_ok(), "{} is held: {free:?}", lock.display());
    }
}

#[test]
fn variants_with_several_seeds_end_in_two_reports_and_a_table() {
    let setup = setup();
    let output = setup.output(&compare(&["toy.toml", "int8.toml"], &[]));
    let table = succeeded(&output);
    for words in ["toy", "int8", "accuracy", "paired difference", "target: "] {
        assert!(table.contains(words), "{words:?} is not in:\n{table}");
    }
    let notes = String::from_utf8(output.stderr).unwrap();
    let said: Vec<&str> = notes.lines().collect();
    assert_eq!(said.len(), 5, "{notes}");
    let order = ["toy, seed 0: ", "int8, seed 0: ", "toy, seed 1: ", "int8, seed 1: "];
    for (line, start) in said.iter().zip(order) {
        assert!(line.starts_with(&format!("{start}accuracy ")), "{notes}");
    }
    assert_eq!(said[4], "report: out/report.html");

    let html = fs::read_to_string(setup.path("out/report.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("int8"), "{html}");
    let comparison: Value =
        serde_json::from_slice(&fs::read(setup.path("out/compare.json")).unwrap()).unwrap();
    for (variant, seed) in [("toy", 0), ("int8", 0), ("toy", 1), ("int8", 1)] {
        let summary = &outcome(&comparison, variant, seed)["finished"];
        assert_eq!(summary["server"]["steps"], 4 * STEPS, "{comparison}");
        let peak = summary["device"]["peak_rss_bytes"].as_u64();
        assert!(peak > Some(1_000_000), "the device has a process of its own: {summary}");
        let run = run_folder(&setup, variant, seed);
        assert_tidy(&run.join("device"));
        assert_tidy(&run.join("server"));
        assert_nobody_is_left(&run);
    }
    // Neither the processes nor the link are seen in what is learnt.
    setup.succeeds(&["run", "int8.toml", "--set", "training.seed=1", "--out", "alone"]);
    let adapter = fs::read(run_folder(&setup, "int8", 1).join("device/adapter.safetensors"));
    assert!(setup.adapter("alone") == adapter.unwrap(), "the adapters differ");
}

#[test]
fn what_is_finished_is_not_run_again() {
    let setup = setup();
    let one = ["--seeds", "1", "--json"];
    let first = setup.json(&[&["compare", "toy.toml", "--out", "out"], &one[..]].concat());
    assert_eq!(first["variants"][0]["config"]["link"]["transport"]["type"], "tcp");
    let before = files(&setup.path("out"));
    let again = ["compare", "toy.toml", "--out", "out"];
    let output = setup.output(&[&again, &one[..]].concat());
    assert!(String::from_utf8_lossy(&output.stderr).contains(", finished before\n"));
    let second: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    assert_eq!(first, second);
    assert!(files(&setup.path("out")) == before, "something was written anew");

    // More seeds keep what there is, another config does not.
    let more = setup.json(&compare(&["toy.toml"], &["--json"]));
    assert_eq!(outcome(&more, "toy", 0), outcome(&first, "toy", 0));
    let sets = ["--set", "training.epochs=5", "--json"];
    let longer = setup.json(&[&again[..], &["--seeds", "1"], &sets[..]].concat());
    let steps = &outcome(&longer, "toy", 0)["finished"]["server"]["steps"];
    assert_eq!(steps, &Value::from(5 * STEPS));
    assert_eq!(names(&setup.path("out/runs")).len(), 2);
}

#[test]
fn a_variant_that_fails_does_not_lose_the_other() {
    let setup = setup();
    let broken = INT8.replace("[device]\n", "[device]\nbundle = \"broken\"\n");
    setup.write("broken.toml", broken);
    fs::create_dir(setup.path("broken")).unwrap();
    for name in names(&setup.path("bundle")) {
        fs::copy(setup.path("bundle").join(&name), setup.path("broken").join(&name)).unwrap();
    }
    let weights = setup.path("broken/weights.safetensors");
    let mut damaged = fs::read(&weights).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(weights, damaged).unwrap();

    let configs = ["broken.toml", "toy.toml"];
    let output = setup.output(&compare(&configs, &["--json"]));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("error: 2 of 4 runs failed; the same command tries them again"));
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    for seed in [0, 1] {
        assert!(outcome(&comparison, "toy", seed)["finished"].is_object());
        let reason = outcome(&comparison, "broken", seed)["failed"]["reason"].as_str().unwrap();
        assert!(reason.starts_with("device: ") && reason.contains("weights"), "{reason}");
        assert!(errors.contains(&format!("broken, seed {seed}: failed: device: ")), "{errors}");
    }
    assert_nobody_is_left(&setup.path("out"));

    // Once it is mended, only it is run.
    fs::copy(setup.path("bundle/weights.safetensors"), setup.path("broken/weights.safetensors"))
        .unwrap();
    let mended = setup.json(&compare(&configs, &["--json"]));
    assert!(outcome(&mended, "broken", 1)["finished"].is_object(), "{mended}");
    assert_eq!(outcome(&mended, "toy", 1), outcome(&comparison, "toy", 1));
}

#[test]
fn a_stopped_comparison_leaves_nobody_and_goes_on() {
    let setup = setup();
    let long = ["--set", "training.epochs=24"];
    let arguments = compare(&["toy.toml", "int8.toml"], &long);
    let mut first = Running::start(setup.command(&arguments));
    first.wait_for("toy, seed 0: ");
    let error = setup.fails(1, &arguments);
    assert!(error.contains("another mobillm process is using it"), "{error}");
    first.signal("INT");
    let errors = failed(130, &first.end());
    assert!(errors.contains("the same command goes on from here"), "{errors}");
    assert_nobody_is_left(&setup.path("out"));
    let kept = fs::read(run_folder(&setup, "toy", 0).join("device/summary.json")).unwrap();

    let again = setup.json(&[&arguments[..], &["--json"]].concat());
    assert!(outcome(&again, "int8", 1)["finished"].is_object(), "{again}");
    let now = fs::read(run_folder(&setup, "toy", 0).join("device/summary.json")).unwrap();
    assert!(kept == now, "a finished run was run again");
}

#[test]
fn a_run_that_was_stopped_within_begins_again() {
    let setup = setup();
    let long = ["--set", "training.epochs=60"];
    let arguments = compare(&["toy.toml"], &long);
    let first = Running::start(setup.command(&arguments));
    // There once the first epoch is over.
    first.wait_until(|| has_come_to(&setup, "seed-0/device/adapter.safetensors"));
    first.signal("TERM");
    failed(130, &first.end());
    let folder = run_folder(&setup, "toy", 0).join("device");
    assert!(!folder.join("summary.json").exists(), "the signal came too late");
    assert_nobody_is_left(&setup.path("out"));
    let comparison = setup.json(&[&arguments[..], &["--json"]].concat());
    // What was computed and sent before the stop is in no figure.
    let summary = &outcome(&comparison, "toy", 0)["finished"];
    assert_eq!(summary["server"]["steps"], 60 * STEPS);
    let device = &summary["device"];
    assert_eq!(
        (&device["samples_forwarded"], &device["held_out_forwarded"]),
        (&(60 * 48).into(), &12.into())
    );
    setup.succeeds(&[&["run", "toy.toml", "--out", "alone"], &long[..]].concat());
    let adapter = fs::read(folder.join("adapter.safetensors")).unwrap();
    assert!(setup.adapter("alone") == adapter, "the adapters differ");
}

#[test]
fn a_closed_terminal_leaves_nobody() {
    for signal in ["HUP", "QUIT"] {
        let setup = setup();
        let long = ["--set", "training.epochs=1000"];
        let first = Running::start(setup.command(&compare(&["toy.toml"], &long)));
        first.wait_until(|| has_come_to(&setup, "seed-0/device/.lock"));
        first.signal(signal);
        failed(130, &first.end());
        assert_nobody_is_left(&setup.path("out"));
    }
}

/// Only a system with a /proc tells what is ignored.
#[cfg(target_os = "linux")]
#[test]
fn nohup_is_heeded() {
    let setup = setup();
    let mut shell = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_mobillm");
    let script = "trap '' HUP; exec \"$0\" compare toy.toml --out out --seeds 2";
    setup.at_home(&mut shell).args(["-c", script, program]);
    let mut first = Running::start(shell);
    first.wait_for("toy, seed 0: ");
    first.signal("HUP");
    assert!(succeeded(&first.end()).contains("accuracy"));
}

#[test]
fn figures_that_cannot_be_read_are_made_again() {
    let setup = setup();
    let one = ["--seeds", "1", "--set", "training.epochs=1", "--json"];
    let arguments = [&["compare", "toy.toml", "--out", "out"], &one[..]].concat();
    setup.succeeds(&arguments);
    let summary = run_folder(&setup, "toy", 0).join("device/summary.json");
    fs::write(&summary, "{").unwrap();
    let output = setup.output(&arguments);
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(notes.contains("toy, seed 0: cannot read ") && notes.contains("; it is run again\n"));
    let again: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    let made: Value = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    assert_eq!(outcome(&again, "toy", 0)["finished"], made);
}

#[test]
fn configs_of_other_work_are_refused_before_anything_runs() {
    let setup = setup();
    let task = "schema = 1\nextends = \"toy.toml\"\n[task]\n";
    setup.write("split.toml", format!("{task}split_seed = 3\nname = \"other\"\n"));
    let error = setup.fails(2, &compare(&["toy.toml", "int8.toml", "split.toml"], &[]));
    for words in [
        "split.toml:4:14: task.split_seed: 3 here, 0 in the config `toy`",
        "1 mistake in split.toml",
    ] {
        assert!(error.contains(words), "{words:?} is not in:\n{error}");
    }

    // The same rows may stand elsewhere, and other rows not.
    let rows = fs::read_to_string(setup.path("toy.tsv")).unwrap();
    setup.write("rows.toml", format!("{task}train = \"other.tsv\"\n"));
    setup.write("other.tsv", rows.replace("the good", "the very good"));
    let error = setup.fails(2, &compare(&["toy.toml", "rows.toml"], &[]));
    assert!(error.contains("task.train: the rows, or which of them are held out"), "{error}");
    assert!(!setup.path("out").exists());
    setup.write("other.tsv", rows);
    let one = ["--seeds", "1", "--set", "training.epochs=1"];
    setup.succeeds(&[&["compare", "toy.toml", "rows.toml", "--out", "out"], &one[..]].concat());
}

#[test]
fn every_mistake_of_every_config_is_told_at_once() {
    let setup = setup();
    setup.write("a.toml", INT8.replace("int8", "int9"));
    setup.write("b.toml", INT8.replace("[device]", "[device]\nwindow = 0"));
    let error = setup.fails(2, &compare(&["a.toml", "toy.toml", "b.toml"], &[]));
    for words in ["a.toml:4:", "`int9`", "1 mistake in a.toml", "b.toml:4:", "device.window"] {
        assert!(error.contains(words), "{words:?} is not in:\n{error}");
    }
    fs::create_dir(setup.path("more")).unwrap();
    setup.write("more/toy.toml", "");
    let error = setup.fails(2, &compare(&["toy.toml", "more/toy.toml"], &[]));
    assert!(error.contains("toy.toml and more/toy.toml would both be called `toy`"), "{error}");
    for wrong in [["--seeds", "0"], ["--target", "nan"]] {
        let output = setup.output(&[&["compare", "toy.toml", "--out", "out"], &wrong[..]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(&format!("invalid value '{}' for '{}", wrong[1], wrong[0])),
            "{error}"
        );
    }
    assert!(!setup.path("out").exists());
}

#[test]
fn a_wrapper_around_a_transport_stays() {
    let setup = setup();
    let slow = "schema = 1\nextends = \"toy.toml\"\n[link.transport]\ntype = \"link-emulator\"\n\
                latency_ms = 5.0\ninner = { type = \"in-memory\" }\n";
    setup.write("slow.toml", slow);
    let one = ["--seeds", "1", "--set", "training.epochs=1", "--json"];
    let comparison = setup.json(&[&["compare", "slow.toml", "--out", "out"], &one[..]].concat());
    let transport = &comparison["variants"][0]["config"]["link"]["transport"];
    let types = (&transport["type"], &transport["inner"]["type"]);
    assert_eq!(types, (&"link-emulator".into(), &"tcp".into()));
    let emulated = &outcome(&comparison, "slow", 0)["finished"]["link"]["emulated"];
    assert!(emulated["up_seconds"].as_f64() > Some(0.0), "{comparison}");
}

#[test]
fn a_quiet_comparison_says_nothing_but_its_result() {
    let setup = setup();
    let more = ["--quiet", "--seeds=1", "--set", "training.epochs=1", "--target=2"];
    let output = setup
        .output(&["compare", "toy.toml", "--out", "out"].iter().chain(&more).collect::<Vec<_>>());
    let table = succeeded(&output);
    assert!(table.contains("not reached"), "{table}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
