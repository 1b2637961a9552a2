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

/// One test for all slots: between the build of a `cargo test` and its doc-tests another cargo in the same target folder
/// could replace what they link.
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
        cargo(&setup.path(&name), &["test"]);
        // As a program has it that links it in, without the door.
        cargo(&setup.path(&name), &["build", "--no-default-features"]);
    }
}

#[test]
fn every_slot_in_c_builds_keeps_the_laws_and_runs() {
    let setup = Setup::new();
    let library = |slot: &str| format!("acme-{slot}/libacme_{}.so", slot.replace('-', "_"));
    for slot in SLOTS {
        let name = format!("acme-{slot}");
        setup.succeeds(&["plugins", "new", "--slot", slot, "--lang", "c", &name]);
        let made = Command::new("make").current_dir(setup.path(&name)).output();
        succeeded(&made.unwrap());
        let library = library(slot);
        let table = setup.succeeds(&["plugins", "check", "--seal", &library]);
        assert!(table.contains("passed") && !table.contains("FAILED"), "{table}");
        assert!(setup.path(&format!("{library}.toml")).exists());
    }
    // Nothing between the text and the answer is mobillm's own.
    let config = format!(
        r#"
        schema = 1
        extends = "toy.toml"
        [plugins]
        load = {:?}
        [device]
        backbone = {{ type = "acme.backbone" }}
        selector = {{ type = "acme.selector" }}
        privacy = {{ type = "acme.privacy-policy" }}
        quantizer = {{ type = "acme.quantizer" }}
        predictor = {{ type = "acme.side-network" }}
        [link]
        transport = {{ type = "acme.transport" }}
        [server]
        side_network = {{ type = "acme.side-network" }}
        "#,
        SLOTS.map(library)
    );
    setup.write("all.toml", config);
    let run = setup.output(&["run", "all.toml", "--out", "run"]);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("plugin acme-backbone 0.1.0: warning: the hidden states of "), "{said}");
    let answer = setup.succeeds(&["predict", "run", "a good tap"]);
    assert!(answer.starts_with("happy\t") || answer.starts_with("sad\t"), "{answer}");
}

#[test]
fn no_mark_of_a_template_is_left() {
    let setup = Setup::new();
    let repository = repository();
    let framework = ["--framework", repository.to_str().unwrap()];
    let mut files = Vec::new();
    for (lang, slot) in ["rust", "c"].into_iter().flat_map(|lang| SLOTS.map(|slot| (lang, slot))) {
        let name = format!("pigeon-{lang}-{slot}");
        let new = ["plugins", "new", "--slot", slot, "--lang", lang, &name];
        setup.succeeds(&[&new[..], &framework].concat());
        files.push(setup.path(&name));
    }
    let marks = [
        "plugin-name",
        "plugin.tag",
        "plugin_ident",
        "PluginType",
        "QUAD",
        "SLOT_CODE",
        "SLOTNAME",
        "TABLE",
        "FEATURES",
        "MORE",
        "EXAMPLE",
        "MOBILLM/",
    ];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(names(&path).iter().map(|name| path.join(name)));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{mark} is left in {}", path.display());
        }
        let lines = text.lines().count();
        let is_ours = path.ends_with("mobillm_plugin.h");
        assert!(is_ours || lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_half_written() {
    let setup = Setup::new();
    let before = || names(&setup.path("")).len();
    let count = before();
    // Longer than a file's name may be, which only the system knows.
    let too_long = format!("acme-{}", "a".repeat(300));
    for (code, arguments, words) in [
        (2, vec!["q6"], "`q6` is one word"),
        (2, vec!["mobillm-q6"], "`mobillm-q6` is of mobillm's own"),
        (2, vec!["Acme-q6"], "`acme-q6` becomes the `acme.q6` of configs"),
        (2, vec!["acme-q6"], "which are not published yet: say where its sources are"),
        (2, vec!["acme-q6", "--framework", "nowhere"], "nowhere is no folder of mobillm's sources"),
        (1, vec!["--lang", "c", &*too_long], "cannot write acme-aaa"),
    ] {
        let error = setup
            .fails(code, &[&["plugins", "new", "--slot", "quantizer"], &arguments[..]].concat());
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
    assert_eq!(before(), count, "nothing was begun");
    setup.write("acme-q6", "mine");
    let new = ["plugins", "new", "--slot", "quantizer", "--lang", "c", "acme-q6"];
    let error = setup.fails(1, &new);
    assert!(error.contains("acme-q6 is there already"), "{error}");
    assert_eq!(fs::read_to_string(setup.path("acme-q6")).unwrap(), "mine");
    assert_eq!(before(), count + 1);
}
