//! `mobillm plugins check`: libraries that keep the laws, and some that do not even let their process live.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::plugins::library;
use crate::setup::Setup;

/// A library made of `source`, a file of this repository, in the folder of `setup`.
fn of_c(setup: &Setup, source: &str, flags: &[&str]) -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = setup.path("libplugin.so");
    let made = Command::new("cc")
        .args(["-std=c11", "-fPIC", "-shared", "-fvisibility=hidden", "-I"])
        .arg(repository.join("framework/plugin/include"))
        .args(flags)
        .arg("-o")
        .arg(&library)
        .arg(repository.join(source))
        .arg("-lm")
        .status();
    assert!(made.unwrap().success());
    library
}

/// What `--json` tells of a library that breaks a law.
#[track_caller]
fn laws(setup: &Setup, arguments: &[&str]) -> Vec<Value> {
    let output = setup.output(&[&["plugins", "check", "--json"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("laws are broken"), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["laws"].as_array().unwrap().clone()
}

/// The laws of `rows` about the quantizer `tag`.
fn of<'a>(rows: &'a [Value], tag: &str) -> Vec<&'a Value> {
    let name = format!("quantizer `{tag}`");
    let of: Vec<&Value> = rows.iter().filter(|row| row["of"] == *name).collect();
    assert!(of.len() > 10, "{of:?}");
    of
}

/// Why a library was not even loaded: then no other law is tried.
#[track_caller]
fn why_not_loaded(rows: &[Value]) -> &str {
    let verdicts: Vec<&Value> = rows.iter().map(|row| &row["verdict"]).collect();
    assert_eq!(verdicts, ["failed", "skipped", "skipped"], "{rows:?}");
    rows[0]["reason"].as_str().unwrap()
}

/// An option of it has no default.
const CLIP: [&str; 2] = ["--options", "acme.clip={\"norm\":1.5}"];

#[test]
fn a_sound_library_passes_and_is_sealed() {
    let setup = Setup::new();
    fs::copy(library("acme_codes"), setup.path("codes.so")).unwrap();
    let check =
        |more: &[&'static str]| [&["plugins", "check", "codes.so"], &CLIP[..], more].concat();
    let text = setup.succeeds(&check(&[]));
    assert!(text.starts_with("acme-codes 0.1.0, for ABI 1.0, built by rustc "), "{text}");
    for words in
        ["quantizer `acme.q6`", "privacy policy `acme.clip`", "passed", "it has none; `--seal`"]
    {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
    assert!(!setup.path("codes.so.toml").exists(), "a check writes nothing");

    // One of another build.
    setup.write("codes.so.toml", "name = \"acme-codes\"");
    let rows = laws(&setup, &["codes.so"]);
    assert!(why_not_loaded(&rows).contains("codes.so.toml"), "{rows:?}");

    let sealed = setup.json(&check(&["--seal", "--json"]));
    let verdicts = sealed["laws"].as_array().unwrap().iter();
    assert!(verdicts.clone().count() > 20);
    assert!(verdicts.clone().all(|law| law["verdict"] != "failed"), "{sealed}");
    let manifest = fs::read_to_string(setup.path("codes.so.toml")).unwrap();
    assert!(manifest.contains("slots = [\"privacy-policy\", \"quantizer\"]"), "{manifest}");
    setup.succeeds(&check(&[]));
    setup.succeeds(&["plugins", "list", "--load", "codes.so"]);
}

#[test]
fn options_are_tried_instead_of_defaults() {
    let setup = Setup::new();
    fs::copy(library("acme_codes"), setup.path("codes.so")).unwrap();
    let options = ["codes.so", "--options", "acme.q6={\"group\":3}"];
    let rows = laws(&setup, &options);
    let is_missing = |row: &&Value| row["law"] == "its options are all there";
    let missing = rows.iter().find(is_missing).unwrap()["reason"].as_str().unwrap();
    assert!(missing.contains("--options 'acme.clip={\"norm\": ...}'"), "{missing}");
    let of_clip = rows.iter().filter(|row| row["of"] == "privacy policy `acme.clip`");
    let skipped: Vec<&Value> = of_clip.filter(|row| row["verdict"] == "skipped").collect();
    assert!(skipped.len() > 5 && skipped.iter().all(|row| row["reason"] == "`norm` is missing"));
    let fault = of(&rows, "acme.q6").into_iter().find(|row| row["law"] == "check finds no fault");
    assert!(fault.unwrap()["reason"].as_str().unwrap().contains("group"), "{fault:?}");
    let rows = laws(&setup, &["codes.so", "--options", "acme.q7={}"]);
    let of_none = rows.iter().find(|row| row["law"] == "it has components").unwrap();
    assert_eq!(of_none["reason"], "`acme.q7` has options, but is not there");
    for options in ["acme.q6", "acme.q6=3"] {
        let refused = setup.output(&["plugins", "check", "codes.so", "--options", options]);
        assert_eq!(refused.status.code(), Some(2), "{options}");
    }
}

#[test]
fn what_ends_the_process_is_told_law_by_law() {
    let setup = Setup::new();
    of_c(&setup, "plugins/hostile/c/hostile.c", &["-O1"]);
    let rows = laws(&setup, &["libplugin.so"]);
    for (fault, words) in [
        ("releases-twice", "the process died of SIGABRT: it gave up"),
        ("crashes", "the process died of SIGSEGV: it touched memory that is not there"),
        ("aborts", "the process died of SIGABRT"),
        ("exits", "the library ended the process, with exit code "),
    ] {
        let of = of(&rows, &format!("hostile.{fault}"));
        let died = |row: &&&Value| row["reason"].as_str().is_some_and(|why| why.contains(words));
        assert!(of.iter().any(|row| died(&row)), "{fault}: {of:?}");
        // Whatever one law brought about, the last one was tried as well.
        assert_eq!(of.last().unwrap()["law"], "threads share an instance");
    }
}

#[test]
fn a_call_that_hangs_is_named_and_ended() {
    let setup = Setup::new();
    fs::copy(library("mobillm_hostile"), setup.path("hostile.so")).unwrap();
    let rows = laws(&setup, &["hostile.so", "--patience", "2"]);
    let of = of(&rows, "hostile.hangs");
    let hung = of.iter().find(|row| row["law"] == "every row takes row bytes").unwrap();
    let why = hung["reason"].as_str().unwrap();
    assert!(why.starts_with("it did not end within 2 s and was killed"), "{why}");
    assert!(why.contains("encode has not come back for "), "{why}");
    let panicked = rows.iter().filter_map(|row| row["reason"].as_str());
    assert!(!panicked.clone().any(|why| why.contains("died of")), "panics are contained");
}

#[test]
fn what_is_no_plugin_is_no_plugin() {
    let setup = Setup::new();
    setup.write("text.so", "not a library");
    for file in ["text.so", "nowhere.so"] {
        let rows = laws(&setup, &[file]);
        assert!(why_not_loaded(&rows).contains(file), "{rows:?}");
    }
    of_c(&setup, "plugins/hostile/c/hostile.c", &["-DNO_SYMBOL"]);
    let rows = laws(&setup, &["libplugin.so"]);
    assert!(why_not_loaded(&rows).contains("is it a plugin of mobillm?"), "{rows:?}");
}

#[test]
fn a_tag_has_a_vendor_unless_it_is_of_mobillm() {
    let setup = Setup::new();
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins/c/acme_bf16.c");
    let example = fs::read_to_string(example).unwrap();
    let (law, bare) = ("its tag names its vendor", example.replace("acme.bf16", "half"));
    let of_vendor = |source: &str| {
        setup.write("plugin.c", source);
        of_c(&setup, setup.path("plugin.c").to_str().unwrap(), &[]);
        let output = setup.output(&["plugins", "check", "--json", "libplugin.so"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = report["laws"].as_array().unwrap();
        let row = rows.iter().find(|row| row["law"] == law).unwrap();
        (output.status.code(), row["verdict"].clone(), row["reason"].clone())
    };
    let (code, verdict, why) = of_vendor(&bare);
    assert_eq!((code, verdict), (Some(1), json!("failed")));
    let told = "`half` may be another's, too; expected vendor, dot and name, such as `acme.q8`";
    assert_eq!(why, told);
    for (tag, verdict) in [("acme.", "failed"), (".half", "failed"), ("acme.half", "passed")] {
        assert_eq!(of_vendor(&example.replace("acme.bf16", tag)).1, verdict, "{tag}");
    }
    let ours = bare.replace("\"acme-bf16\"", "\"mobillm-bf16\"");
    assert_ne!(ours, bare);
    assert_eq!(of_vendor(&ours), (Some(0), json!("skipped"), json!("it is a part of mobillm")));
}
