//! What is known of a config that is not sound, or not whole.

use std::fs;

use mobillm_core::diagnostic::Diagnostic;
use serde_json::json;
use tempfile::TempDir;

use super::{WHOLE, plugins};
use crate::assembly::COMPONENTS;
use crate::check::sound;
use crate::config::load::pointer;
use crate::config::{Draft, Plugins};
use crate::environment::Environment;
use crate::error::RunError;

/// The config `text` as a file, and its folder.
fn draft(text: &str, sets: &[&str]) -> (Draft, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    (Draft::read(&path, &sets, &plugins::registry()).unwrap(), folder)
}

/// Everything that is wrong with `draft`, its model and its data.
fn told(draft: Draft) -> Vec<Diagnostic> {
    match sound(draft, &Environment::new(plugins::registry())) {
        Err(RunError::Config(errors)) => {
            errors.mistakes().iter().map(|mistake| mistake.diagnostic.clone()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_told(told: &[Diagnostic], paths: &[&str]) {
    let found: Vec<&str> = told.iter().map(|diagnostic| &*diagnostic.path).collect();
    assert_eq!(found, paths, "{told:#?}");
}

#[test]
fn every_component_of_an_unsound_config_is_read() {
    for (key, _) in COMPONENTS {
        // Without a task no policy is built.
        let (mut draft, _folder) = draft(WHOLE, &["task.labels=0"]);
        // What its schema allows and its twin refuses.
        *draft.written.pointer_mut(&pointer(key)).unwrap() = json!({ "type": "nobody" });
        let told = told(draft);
        assert!(told.iter().any(|found| found.path.starts_with(key)), "{key}: {told:#?}");
    }
}

#[test]
fn a_mistake_in_its_table_does_not_change_the_patience() {
    let patience =
        |plugins: &str| draft(&format!("{WHOLE}[plugins]\n{plugins}\n"), &[]).0.patience_seconds();
    for mistake in ["load = ['none.so']", "load = 3", "laod = []"] {
        assert_eq!(patience(&format!("{mistake}\npatience_seconds = 3600")), 3600, "{mistake}");
    }
    assert_eq!(patience("load = ['none.so']"), 60);
    assert_eq!(patience("patience_seconds = 0"), 60);
}

#[test]
fn a_base_that_cannot_be_read_hides_no_mistake() {
    let text = "
        [task]
        labels = 'ham, spam'
        [device]
        bundle = 'pull:nothing'
        micro_batch = 0
        backbone = { type = 'test.engine', threads = { share = 2.0 } }
        quantizer = { type = 'test.blocks', blok = 32 }
        selector = { type = 'test.everythin' }
        privacy = { x = 1 }
        [link]
        transport = { type = 'acme.wire' }
    ";
    let expected = [
        "extends",
        "task.labels",
        "device.bundle",
        "device.micro_batch",
        "device.backbone.threads.share",
        "device.quantizer.blok",
        "device.selector.type",
    ];
    for base in ["none.toml", "config.toml"] {
        let (draft, _folder) = draft(&format!("schema = 1\nextends = '{base}'\n{text}"), &[]);
        is_told(&told(draft), &expected);
    }
}

#[test]
fn what_is_missing_may_stand_in_a_base_that_cannot_be_read() {
    for base in ["none.toml", "config.toml"] {
        for text in ["", "[device]\nquantizer = { block = 32 }", "[server.side_network]"] {
            let (draft, _folder) = draft(&format!("schema = 1\nextends = '{base}'\n{text}"), &[]);
            is_told(&told(draft), &["extends"]);
        }
    }
}

#[test]
fn a_base_that_is_no_config_is_one_that_cannot_be_read() {
    let bases = [("task = ", "not TOML"), ("schema = 2\n[task]\ncolour = 3", "schema")];
    for (base, problem) in bases {
        let child = "schema = 1\nextends = 'base.toml'\n[device]\nmicro_batch = 0";
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("base.toml"), base).unwrap();
        let path = folder.path().join("child.toml");
        fs::write(&path, child).unwrap();
        let draft = Draft::read(&path, &[], &plugins::registry()).unwrap();
        is_told(&told(draft), &["device.micro_batch", problem]);
        assert!(Plugins::of_config(&path, &plugins::registry()).is_err());
    }
}
