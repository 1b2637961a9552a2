//! `mobillm plugins new`: what it writes builds, passes its own tests and `plugins check` as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{Setup, names, succeeded};

const SLOTS: [&str; 6] =
    ["backbone", "selector", "privacy-policy", "quantizer", "transport", "side-network"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// `cargo`, with what the workspace has downloaded, in a target folder that the templates share.
fn cargo(folder: &Path, arguments: &[&str]) {
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).arg("--offline").current_dir(folder).env("CARGO_TARGET_DIR", target);
    succeeded(&cargo.output().unwrap());
}

#[test]
fn every_slot_in_rust_builds_and_keeps_the_laws() {
    let setup = Setup::new();
    let repository = repository();
    let framework = ["--lang", "rust", "--framework", repository.to_str().unwrap()];
    for slot in SLOTS {
        let name = format!("acme-{slot}");
        let begin = ["plugins", "new", "--slot", slot, &name];
        let told = setup.succeeds(&[&begin[..], &framework].concat());
        assert!(told.contains(&format!("Try it: cd {name} && cargo build")), "{told}");
        cargo(&setup.path(&name), &["build"]);
        let library = format!("libacme_{}.so", slot.replace('-', "_"));
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins/debug").join(&library);
        fs::copy(built, setup.path(&library)).unwrap();
        let table = setup.succeeds(&["plugins", "check", &library]);
        assert!(table.contains(&format!("`acme.{slot}`")), "{table}");
        assert!(table.contains("passed") && !table.contains("FAILED"), "{table}");
    }
}

#[test]
fn a_new_crate_passes_its_own_tests() {
    let setup = Setup::new();
    let repository = repository();
    let framework = ["--framework", repository.to_str().unwrap()];
    setup.succeeds(
        &[&["plugins", "new", "--slot", "side-network", "acme-own"], &framework[..]].concat(),
    );
    cargo(&setup.path("acme-own"), &["test"]);
}

#[test]
fn four_slots_in_c_build_and_keep_the_laws() {
    let setup = Setup::new();
    for slot in ["quantizer", "selector", "privacy-policy", "transport"] {
        let name = format!("acme-{slot}");
        setup.succeeds(&["plugins", "new", "--slot", slot, "--lang", "c", &name]);
        let made = Command::new("make").current_dir(setup.path(&name)).output();
        succeeded(&made.unwrap());
        let library = format!("{name}/libacme_{}.so", slot.replace('-', "_"));
        let table = setup.succeeds(&["plugins", "check", "--seal", &library]);
        assert!(table.contains("passed") && !table.contains("FAILED"), "{table}");
        assert!(setup.path(&format!("{library}.toml")).exists());
    }
}

#[test]
fn published_crates_are_named_by_their_version() {
    let setup = Setup::new();
    setup.succeeds(&["plugins", "new", "--slot", "transport", "acme-pigeon"]);
    let manifest = fs::read_to_string(setup.path("acme-pigeon/Cargo.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("mobillm-core = {{ version = \"{version}\" }}"),
        format!("mobillm-plugin = {{ version = \"{version}\", features = [\"transport\"] }}"),
    ] {
        assert!(manifest.contains(&line), "{line} is not in:\n{manifest}");
    }
    let marks = [
        "plugin-name",
        "plugin.tag",
        "plugin_ident",
        "PluginType",
        "QUAD",
        "SLOTNAME",
        "MORE",
        "MOBILLM/",
    ];
    let mut files = vec![setup.path("acme-pigeon")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(names(&path).iter().map(|name| path.join(name)));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{mark} is left in {}", path.display());
        }
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_half_written() {
    let setup = Setup::new();
    let before = || names(&setup.path("")).len();
    let count = before();
    let new = |slot: &'static str, name: &'static str| ["plugins", "new", "--slot", slot, name];
    for (code, arguments, words) in [
        (2, vec!["q6"], "`q6` is one word"),
        (2, vec!["Acme-q6"], "`acme-q6` becomes the `acme.q6` of configs"),
        (2, vec!["acme-q6", "--framework", "nowhere"], "nowhere is no folder of mobillm's sources"),
    ] {
        let error = setup
            .fails(code, &[&["plugins", "new", "--slot", "quantizer"], &arguments[..]].concat());
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
    for slot in ["backbone", "side-network"] {
        let error = setup.fails(2, &["plugins", "new", "--slot", slot, "--lang", "c", "acme-one"]);
        assert!(error.contains("in C") && error.contains("--lang rust"), "{error}");
    }
    assert_eq!(before(), count, "nothing was begun");
    setup.write("acme-q6", "mine");
    let error = setup.fails(1, &new("quantizer", "acme-q6"));
    assert!(error.contains("acme-q6 is there already"), "{error}");
    assert_eq!(fs::read_to_string(setup.path("acme-q6")).unwrap(), "mine");
    assert_eq!(before(), count + 1);
}
