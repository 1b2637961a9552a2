//! `mobillm plugins check`: libraries that keep the laws, and some that do not even let their process live.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::plugins::library;
use crate::setup::{Running, Setup, failed, names};

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

#[test]
fn a_sound_library_passes_and_is_sealed() {
    let setup = Setup::new();
    fs::copy(library("acme_codes"), setup.path("codes.so")).unwrap();
    let check = |more: &[&'static str]| [&["plugins", "check", "codes.so"], more].concat();
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
    setup.write("codes.so.toml", OLD);
    let rows = laws(&setup, &["codes.so"]);
    assert!(why_not_loaded(&rows).contains("codes.so.toml"), "{rows:?}");

    let before = names(&setup.path("")).len();
    let sealed = setup.json(&check(&["--seal", "--json"]));
    let verdicts = sealed["laws"].as_array().unwrap().iter();
    assert!(verdicts.clone().count() > 20);
    assert!(verdicts.clone().all(|law| law["verdict"] != "failed"), "{sealed}");
    assert_eq!(of_manifest(&sealed["laws"]), (json!("passed"), Value::Null));
    assert_eq!(sealed["library"]["sealed"], true);
    assert_eq!(names(&setup.path("")).len(), before, "nothing else is left");
    let manifest = fs::read_to_string(setup.path("codes.so.toml")).unwrap();
    assert!(manifest.contains("slots = [\"privacy-policy\", \"quantizer\"]"), "{manifest}");
    setup.succeeds(&check(&[]));
    setup.succeeds(&["plugins", "list", "--load", "codes.so"]);
}

/// A manifest of another build.
const OLD: &str = "name = \"acme-codes\"";

/// How a library fares under the law of manifests, of `rows`.
fn of_manifest(rows: &Value) -> (Value, Value) {
    let of_manifest = |row: &&Value| row["law"] == "it is what its manifest says";
    let row = rows.as_array().unwrap().iter().find(of_manifest).unwrap();
    (row["verdict"].clone(), row["reason"].clone())
}

/// The set-up's library was not sealed: the manifest is the old one, and nothing of the attempt is left.
#[track_caller]
fn assert_not_sealed(setup: &Setup, library: &str) {
    assert_eq!(fs::read_to_string(setup.path(&format!("{library}.toml"))).unwrap(), OLD);
    let left = names(&setup.path(""));
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
}

#[test]
fn a_manifest_stays_until_another_replaces_it() {
    let setup = Setup::new();
    fs::copy(library("acme_codes"), setup.path("codes.so")).unwrap();
    setup.write("codes.so.toml", OLD);
    // An option is missing.
    let rows = laws(&setup, &["codes.so", "--seal", "--options", "acme.clip={}"]);
    let unwritten = json!("it is written once no law is broken");
    assert_eq!(of_manifest(&rows.into()), (json!("skipped"), unwritten));
    assert_not_sealed(&setup, "codes.so");
    // It does not load, and is called what the user calls it.
    setup.write("codes.so", "not a library");
    let rows = laws(&setup, &["codes.so", "--seal"]);
    let why = why_not_loaded(&rows);
    assert!(why.contains("codes.so: ") && !why.contains(".mobillm-check-"), "{why}");
    assert_not_sealed(&setup, "codes.so");
    let error = setup.fails(1, &["plugins", "check", "--seal", "nowhere.so"]);
    assert!(error.contains("nowhere.so"), "{error}");
}

#[test]
fn ctrl_c_stops_a_check_and_leaves_what_there_was() {
    let setup = Setup::new();
    fs::copy(library("mobillm_hostile"), setup.path("hostile.so")).unwrap();
    setup.write("hostile.so.toml", OLD);
    let check = Running::start(setup.command(&["plugins", "check", "--seal", "hostile.so"]));
    let folder = setup.path("");
    check.wait_until(|| names(&folder).iter().any(|name| name.starts_with(".mobillm-check-")));
    check.signal("INT");
    let error = failed(130, &check.end());
    assert!(error.contains("stopped"), "{error}");
    assert_not_sealed(&setup, "hostile.so");
}

#[test]
fn options_are_tried_instead_of_defaults() {
    let setup = Setup::new();
    fs::copy(library("acme_codes"), setup.path("codes.so")).unwrap();
    let options = ["codes.so", "--options", "acme.q6={\"group\":3}", "--options", "acme.clip={}"];
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
fn what_the_host_cannot_write_is_no_fault_of_a_plugin() {
    let setup = Setup::new();
    setup.succeeds(&["plugins", "new", "--slot", "backbone", "--lang", "c", "acme-hash"]);
    let source = setup.path("acme-hash/acme_hash.c");
    of_c(&setup, source.to_str().unwrap(), &["-D_POSIX_C_SOURCE=200809L"]);
    // Room for what the library says of itself, and for no model.
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" plugins check --json libplugin.so";
    let mut check = Command::new("sh");
    check.args(["-c", limited, env!("CARGO_BIN_EXE_mobillm")]);
    let error = failed(1, &setup.at_home(&mut check).output().unwrap());
    assert!(error.contains("File too large") && !error.contains("laws"), "{error}");
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
    for (tag, verdict) in [
        ("acme.", "failed"),
        (".half", "failed"),
        ("mobillm.half", "failed"),
        ("acme.half", "passed"),
        ("mobillm-2.half", "passed"),
    ] {
        assert_eq!(of_vendor(&example.replace("acme.bf16", tag)).1, verdict, "{tag}");
    }
    // A name alone makes nothing a part of mobillm.
    let named = |name: &str| {
        let source = bare.replace("\"acme-bf16\"", &format!("\"{name}\""));
        assert_ne!(source, bare);
        of_vendor(&source)
    };
    assert_eq!(named("mobillm-bf16").1, "failed");
    let ours = (Some(0), json!("skipped"), json!("it is a part of mobillm"));
    assert_eq!(named("mobillm-plugin-builtins"), ours);
}
