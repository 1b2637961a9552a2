//! Dynamic plugins in configs, and `mobillm plugins list` and `show`.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::PathBuf;

use mobillm_core::fingerprint::Fingerprint;
use serde_json::{Value, json};

use crate::setup::{Running, Setup, failed, succeeded};
use crate::r#use::with_input;

/// The library of the crate `name`, a dependency of these tests: cargo built it beside them.
pub fn library(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"));
    assert!(path.is_file(), "cargo should have built {}", path.display());
    path
}

/// A set-up with the library of `name` in its folder `lib`, and a config that loads it from there.
pub fn with_library(name: &str) -> Setup {
    let setup = Setup::new();
    fs::create_dir(setup.path("lib")).unwrap();
    fs::copy(library(name), setup.path("lib/codes.so")).unwrap();
    let toy = fs::read_to_string(setup.path("toy.toml")).unwrap();
    setup.write("loads.toml", format!("{toy}[plugins]\nload = [\"lib/codes.so\"]\n"));
    setup
}

pub const Q6: [&str; 2] = ["--set", "device.quantizer={type=\"acme.q6\"}"];

/// Makes another file of the library `lib/codes.so`, which does the same. The old one, and what messages call the
/// old one and the new one.
pub fn rebuild(setup: &Setup) -> (Vec<u8>, [String; 2]) {
    let old = fs::read(setup.path("lib/codes.so")).unwrap();
    let new = [&old[..], b"built again"].concat();
    let name = |file: &[u8]| format!("acme-codes 0.1.0, file {}", Fingerprint::of(file).short());
    let names = [name(&old), name(&new)];
    setup.write("lib/codes.so", new);
    (old, names)
}

#[test]
fn list_tells_what_is_linked_in_and_what_is_loaded() {
    let setup = with_library("acme_codes");
    let linked = setup.succeeds(&["plugins", "list"]);
    assert!(linked.contains("quantizer       nf4 "), "{linked}");
    assert!(linked.contains("mobillm-quantizers 0.1.0  "), "{linked}");
    assert!(!linked.contains("acme"), "{linked}");
    let loaded = setup.succeeds(&["plugins", "list", "--load", "lib/codes.so"]);
    let line = loaded.lines().find(|line| line.contains(" acme.q6 ")).unwrap();
    assert!(line.contains(" acme-codes 0.1.0 (loaded) ") && line.contains("Six bits"), "{line}");
    assert_eq!(setup.succeeds(&["plugins", "list", "loads.toml"]), loaded);
    let json = setup.json(&["plugins", "list", "loads.toml", "--json"]);
    let listed = json.as_array().unwrap();
    assert_eq!(listed.len() + 1, loaded.lines().count(), "a line each, and the header");
    let of = |tag: &str| listed.iter().find(|one| one["tag"] == tag).unwrap();
    let clip = of("acme.clip");
    assert_eq!((&clip["slot"], &clip["version"]), (&json!("privacy-policy"), &json!("0.1.0")));
    assert!(clip["library"].as_str().unwrap().ends_with("lib/codes.so"), "{clip}");
    assert_eq!(of("tcp")["library"], Value::Null);
    assert!(listed.iter().all(|one| one["help"] != ""), "{json}");
}

#[test]
fn show_tells_options_and_an_example() {
    let setup = with_library("acme_codes");
    let text = setup.succeeds(&["plugins", "show", "acme.q6", "loads.toml"]);
    for words in [
        "quantizer `acme.q6`\nacme-codes 0.1.0, loaded from ",
        "lib/codes.so, built by rustc ",
        "\noptions\n  group: a whole number from 4 to 4096; default 64\n      Values that share",
        "\nexample\n  [device.quantizer]\n  type = \"acme.q6\"\n  group = 64\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    let json = setup.json(&["plugins", "show", "acme.q6", "--load", "lib/codes.so", "--json"]);
    assert_eq!(json[0]["options"][0]["key"], "group");
    assert_eq!((&json[0]["origin"], &json[0]["version"]), (&json!("acme-codes"), &json!("0.1.0")));
    // What fills two slots is shown for both.
    let both = setup.succeeds(&["plugins", "show", "candle"]);
    assert!(both.contains("backbone `candle`\n") && both.contains("\nside network `candle`\n"));
    let error = setup.fails(2, &["plugins", "show", "acme.q6"]);
    assert!(error.contains("no plugin `acme.q6`") && error.contains("--load PATH"), "{error}");
}

#[test]
fn what_list_and_show_print_is_kept() {
    let setup = with_library("acme_codes");
    let of_here = (r"loaded from \S+, built by .*", "loaded from [library], built by [compiler]");
    insta::with_settings!({ filters => [of_here] }, {
        insta::assert_snapshot!("list", setup.succeeds(&["plugins", "list", "loads.toml"]));
        insta::assert_snapshot!("show", setup.succeeds(&["plugins", "show", "acme.q6", "loads.toml"]));
    });
}

#[test]
fn a_library_that_cannot_be_loaded_is_told_by_name() {
    let setup = with_library("acme_codes");
    for command in [&["list"][..], &["show", "nf4"]] {
        let load = |path| [&["plugins"], command, &["--load", path]].concat();
        let error = setup.fails(1, &load("none.so"));
        assert!(error.contains("none.so: ") && error.contains("is the path right?"), "{error}");
        let error = setup.fails(1, &load("toy.tsv"));
        assert!(error.contains("expected a dynamic library for this system"), "{error}");
    }
    // One library is loaded once, however often it is named, and by which name.
    std::os::unix::fs::symlink("codes.so", setup.path("lib/link.so")).unwrap();
    fs::copy(setup.path("lib/codes.so"), setup.path("lib/copy.so")).unwrap();
    let list = ["plugins", "list", "loads.toml", "--load", "lib/codes.so", "--load"];
    setup.succeeds(&[&list[..], &["lib/link.so"]].concat());
    let error = setup.fails(1, &[&list[..], &["lib/copy.so"]].concat());
    assert!(error.contains("lib/copy.so: its privacy policy `acme.clip` is that of "), "{error}");
}

#[test]
fn a_config_runs_and_predicts_with_what_it_loads() {
    let setup = with_library("acme_codes");
    let inspect = [&["inspect", "loads.toml"], &Q6[..]].concat();
    let shown = setup.succeeds(&inspect);
    assert!(shown.contains("[device.quantizer]\ntype = \"acme.q6\"\ngroup = 64\n"), "{shown}");
    assert!(shown.contains("acme.q6        acme-codes 0.1.0 (loaded)"), "{shown}");
    let sha256 = Fingerprint::of(&fs::read(setup.path("lib/codes.so")).unwrap());
    let library = format!("\nlibraries\n  acme-codes 0.1.0{:19} sha256 {sha256}\n", "");
    assert!(shown.contains(&library), "{library:?} is not in:\n{shown}");
    setup.succeeds(&[&["check", "loads.toml"], &Q6[..]].concat());
    setup.succeeds(&[&["run", "loads.toml", "--out", "run"], &Q6[..]].concat());
    let state = fs::read_to_string(setup.path("run/state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let plugin = &state["work"]["plugins"][0];
    assert_eq!((&plugin["name"], &plugin["version"]), (&json!("acme-codes"), &json!("0.1.0")));
    assert_eq!(plugin["sha256"].as_str().unwrap().len(), 64);
    // The run's own config names the library wherever it is called from.
    let answer = setup.succeeds(&["predict", "run", "a good tap"]);
    assert!(answer.starts_with("happy\t") || answer.starts_with("sad\t"), "{answer}");
}

#[test]
fn a_run_goes_on_only_with_the_library_that_it_was_begun_with() {
    let setup = with_library("acme_codes");
    let run = ["run", "loads.toml", "--out", "run", "--set", "training.epochs=24"];
    let run = [&run[..], &Q6].concat();
    let mut first = Running::start(setup.command(&run));
    first.wait_for("epoch 2:");
    first.signal("INT");
    failed(130, &first.end());
    let predict = ["predict", "run", "a good tap"];
    let output = setup.output(&predict);
    assert_eq!((succeeded(&output).lines().count(), &output.stderr[..]), (1, &b""[..]));

    let (old, [name, rebuilt]) = rebuild(&setup);
    let error = setup.fails(1, &run);
    let said = format!("begun with another set of plugins ({name}; now it is {rebuilt}); put it");
    assert!(error.contains(&said), "{said:?} is not in:\n{error}");
    // What was learnt can be used, and whoever does is told.
    setup.write("rows.tsv", "text\tmood\na good tap\thappy\na bad tap\tsad\n");
    for command in [&predict[..], &["eval", "run", "rows.tsv"]] {
        let output = setup.output(command);
        succeeded(&output);
        let warning = String::from_utf8(output.stderr).unwrap();
        let said = format!(
            "warning: the run was trained with another set of plugins ({name}; now it is {rebuilt}), and"
        );
        assert!(warning.contains(&said), "{said:?} is not in:\n{warning}");
        let quiet = setup.output(&[command, &["--quiet"]].concat());
        assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");
    }
    setup.write("lib/codes.so", old);
    setup.succeeds(&run);
}

#[test]
fn mistakes_about_what_is_loaded_have_their_place() {
    let setup = with_library("acme_codes");
    let wrong = |set: &str| setup.fails(2, &["check", "loads.toml", "--set", set]);
    let error = wrong("device.quantizer={type=\"acme.q6\", grup=8}");
    assert!(error.contains("device.quantizer.grup: unknown key; did you mean `group`?"), "{error}");
    let error = wrong("device.quantizer={type=\"acme.q6\", group=2}");
    assert!(error.contains("device.quantizer.group: got `2`; expected a whole number"), "{error}");
    // What only the plugin itself knows.
    let error = wrong("device.quantizer={type=\"acme.q6\", group=30}");
    assert!(error.contains("device.quantizer.group: groups of 30 values"), "{error}");
    let error = wrong("plugins.load=[\"lib/none.so\"]");
    assert!(error.contains("plugins.load[0]: lib/none.so: "), "{error}");
    // Without its library it is not there.
    let error = setup.fails(2, &[&["check", "toy.toml"], &Q6[..]].concat());
    assert!(
        error.contains("no quantizer `acme.q6`") && error.contains("[plugins] load"),
        "{error}"
    );
}

#[test]
fn a_policy_that_cannot_combine_gives_no_answer() {
    let setup = with_library("mobillm_hostile");
    let policy = "device.privacy={type=\"hostile.panics\", at=\"nothing\"}";
    setup.succeeds(&["run", "loads.toml", "--out", "run", "--set", policy]);
    let predict = ["predict", "run", "a good tap"];
    assert_eq!(setup.succeeds(&predict).lines().count(), 1);
    let config = fs::read_to_string(setup.path("run/config.toml")).unwrap();
    assert!(config.contains("at = \"nothing\""), "{config}");
    let refused = |at: &str, input: &str, said: &str| {
        let told = config.replace("\"nothing\"", &format!("{at:?}"));
        setup.write("run/config.toml", told);
        let output = with_input(&setup, &["predict", "run"], input.as_bytes());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("error: {said}")), "{error}");
        output.stdout.iter().filter(|&&byte| byte == b'\n').count()
    };
    let of = "privacy policy `hostile.panics` of mobillm-hostile 0.1.0";
    let said = format!("text 1: {of}: combine panicked: the fuse in combine blew");
    assert_eq!(refused("combine", "a good tap\n", &said), 0);
    // At one of more texts than are answered together. Short ones come first: of the last three lines the third is
    // the second that is answered.
    let lines = "a tap\n".repeat(256) + "the good tap gets out\nbad\na tap\n";
    assert_eq!(refused("combine 258", &lines, &format!("text 259: {of}: ")), 256);
}

#[test]
fn a_check_that_does_not_come_back_is_told_and_the_process_left() {
    let setup = with_library("mobillm_hostile");
    let hangs = "device.quantizer={type=\"hostile.hangs\", at=\"check\"}";
    let sets = ["--set", hangs, "--set", "plugins.patience_seconds=1"];
    let error = setup.fails(1, &[&["check", "loads.toml"], &sets[..]].concat());
    let told =
        "quantizer `hostile.hangs` of mobillm-hostile 0.1.0: check has not come back for 1 s";
    assert!(error.contains(&format!("warning: {told}; stopping")), "{error}");
}

#[test]
fn a_call_that_does_not_come_back_is_told_and_the_process_left() {
    let setup = with_library("mobillm_hostile");
    let sets = ["device.quantizer={type=\"hostile.hangs\"}", "plugins.patience_seconds=1"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let run = ["run", "loads.toml", "--out", "run"].into_iter().chain(sets).collect::<Vec<_>>();
    let error = setup.fails(1, &run);
    let told =
        "quantizer `hostile.hangs` of mobillm-hostile 0.1.0: encode has not come back for 1 s";
    assert!(error.contains(&format!("warning: {told}; stopping")), "{error}");
    assert!(error.contains(&format!("error: {told}")), "{error}");
    assert!(error.contains("`plugins.patience_seconds`"), "{error}");
}
