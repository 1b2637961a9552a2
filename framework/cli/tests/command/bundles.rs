//! `mobillm import`, and what runs do with bundles that are damaged.

use std::fs;

use mobillm_bundle::fixture::TinyBert;
use serde_json::json;

use crate::setup::{Setup, names};

/// Does something to the model folder.
type Damage = fn(&Setup);

/// A setup with a model folder beside the bundle.
fn with_model() -> Setup {
    let setup = Setup::new();
    TinyBert::default().write(&setup.path("model")).unwrap();
    setup
}

#[test]
fn a_model_folder_becomes_a_bundle_that_trains() {
    let setup = with_model();
    let line = setup.succeeds(&["import", "model", "new/bundle"]);
    assert!(line.starts_with("new/bundle: bert, 3 layers of 16, up to 32 tokens, "), "{line}");
    let info = setup.json(&["import", "model", "other", "--json"]);
    assert_eq!((&info["layers"], &info["hidden"]), (&json!(3), &json!(16)));
    let set = "device.bundle=\"new/bundle\"";
    setup.succeeds(&["run", "toy.toml", "--out", "new", "--set", set]);
    setup.succeeds(&["run", "toy.toml", "--out", "run"]);
    assert!(setup.adapter("new") == setup.adapter("run"), "the same model, another adapter");
}

#[test]
fn what_cannot_be_imported_leaves_nothing() {
    let cases: [(&str, Damage, &[&str]); 5] = [
        (
            "a missing file",
            |setup| fs::remove_file(setup.path("model/tokenizer.json")).unwrap(),
            &["model/tokenizer.json: no such file", "save_pretrained"],
        ),
        (
            "no folder at all",
            |setup| fs::remove_dir_all(setup.path("model")).unwrap(),
            &["model/config.json: no such file", "expected the folder of a model"],
        ),
        (
            "weights cut short",
            |setup| {
                let weights = setup.path("model/model.safetensors");
                let bytes = fs::read(&weights).unwrap();
                fs::write(&weights, &bytes[..bytes.len() - 5]).unwrap();
            },
            &["model/model.safetensors: ", "fetch it again"],
        ),
        (
            "an architecture that nobody knows",
            |setup| setup.write("model/config.json", r#"{"model_type": "mamba"}"#),
            &["model/config.json: `model_type` is \"mamba\", but only \"bert\""],
        ),
        (
            "a tokenizer of another model",
            |setup| {
                let path = setup.path("model/tokenizer.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, text.replace("\"tap\":8", "\"tap\":99")).unwrap();
            },
            &["model/tokenizer.json: has token ids up to 99"],
        ),
    ];
    for (case, damage, expected) in cases {
        let setup = with_model();
        damage(&setup);
        let error = setup.fails(1, &["import", "model", "new"]);
        for words in expected {
            assert!(error.contains(words), "{case}: {words:?} is not in: {error}");
        }
        let left = names(&setup.path(""));
        assert!(!left.iter().any(|name| name == "new" || name.starts_with(".import")), "{left:?}");
    }
}

#[test]
fn a_bundle_is_not_written_over() {
    let setup = with_model();
    let before = fs::read(setup.path("bundle/manifest.json")).unwrap();
    let error = setup.fails(1, &["import", "model", "bundle"]);
    assert!(error.contains("bundle: exists already; remove it"), "{error}");
    assert_eq!(fs::read(setup.path("bundle/manifest.json")).unwrap(), before);
}

#[test]
fn a_damaged_bundle_is_told_before_anything_is_trained_or_answered() {
    let setup = Setup::trained();
    let weights = setup.path("bundle/weights.safetensors");
    let whole = fs::read(&weights).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let size = whole.len();
    let cases = [
        // What a look at the model shows is a mistake of the config that names it.
        (2, &whole[..size - 4], format!("expected {size} bytes, got {}", size - 4)),
        (1, &flipped, "expected sha256 ".to_owned()),
    ];
    for (code, bytes, problem) in cases {
        fs::write(&weights, bytes).unwrap();
        for arguments in [&["run", "toy.toml", "--out", "other"][..], &["predict", "run", "a tap"]]
        {
            let error = setup.fails(code, arguments);
            assert!(error.contains("weights.safetensors: ") && error.contains(&problem), "{error}");
            assert!(error.contains("the file is damaged, import the model again"), "{error}");
        }
    }
    fs::remove_file(&weights).unwrap();
    let error = setup.fails(2, &["check", "toy.toml"]);
    assert!(error.contains("weights.safetensors: no such file; make the bundle with"), "{error}");
}

#[test]
fn onnx_runtime_that_is_missing_or_is_none_says_what_to_do() {
    let setup = Setup::new();
    setup.write("text.so", "not a library");
    let run = ["run", "toy.toml", "--out", "run"];
    let mut missing = setup.command(&run);
    missing.env("MOBILLM_CACHE", setup.path("empty"));
    let mut wrong = setup.command(&run);
    wrong.env("ORT_DYLIB_PATH", setup.path("text.so"));
    for (mut command, problem) in [
        (missing, "onnxruntime: was not found on this machine"),
        (wrong, "text.so cannot be used: "),
    ] {
        let error = crate::setup::failed(1, &command.output().unwrap());
        assert!(error.contains(problem), "{problem:?} is not in: {error}");
        assert!(error.contains("run `mobillm pull onnxruntime`"), "{error}");
    }
    // Once it is there, the same command goes on.
    setup.succeeds(&run);
}
