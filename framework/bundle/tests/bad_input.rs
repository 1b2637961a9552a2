//! Every mistake gets an error that names the place, and nothing is left behind.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::{Bundle, BundleError, ImportOptions, import};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// A model folder, and where its bundle would go.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        TinyBert::default().write(&folder.path().join("model")).unwrap();
        Self { folder }
    }

    fn model(&self, file: &str) -> PathBuf {
        self.folder.path().join("model").join(file)
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        edit(&self.model(file), change);
    }

    /// The error of an import, which must say all of `words` and write nothing.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        let out = self.folder.path().join("bundles/new");
        let error =
            import(&self.model(""), &out, &ImportOptions::default()).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        let left = fs::read_dir(self.folder.path().join("bundles"));
        assert!(left.is_err() || left.unwrap().next().is_none(), "something was left behind");
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn a_file_that_is_not_there() {
    for (file, remedy) in [
        ("config.json", "transformers"),
        ("model.safetensors", "safe_serialization"),
        ("tokenizer.json", "save_pretrained"),
    ] {
        let place = Place::new();
        fs::remove_file(place.model(file)).unwrap();
        place.refused(&[file, "no such file", remedy]);
    }
}

#[test]
fn a_config_that_is_not_one() {
    let place = Place::new();
    fs::write(place.model("config.json"), "{").unwrap();
    place.refused(&["config.json", "line 1"]);
}

#[test]
fn an_unknown_architecture_names_those_that_are_known() {
    let place = Place::new();
    place.edit("config.json", |config| config["model_type"] = json!("mamba"));
    place.refused(&["config.json", "mamba", "only \"bert\""]);
}

#[test]
fn a_config_that_no_bert_has() {
    let cases = [
        ("hidden_act", json!("mish"), "gelu_new"),
        ("num_attention_heads", json!(3), "multiple"),
        ("num_attention_heads", json!(0), "at least 1"),
        ("position_embedding_type", json!("relative_key"), "absolute"),
        ("is_decoder", json!(true), "encoder"),
        ("hidden_size", json!(-1), "config.json"),
    ];
    for (key, value, expected) in cases {
        let place = Place::new();
        place.edit("config.json", |config| config[key] = value);
        place.refused(&["config.json", expected]);
    }
}

#[test]
fn shapes_that_contradict_the_config() {
    let cases = [
        ("num_hidden_layers", json!(4), "encoder.layer.3."),
        ("intermediate_size", json!(33), "[33, 16]"),
        ("max_position_embeddings", json!(31), "position_embeddings"),
        ("num_hidden_layers", json!(u32::MAX), "encoder.layer.3."),
    ];
    for (key, value, expected) in cases {
        let place = Place::new();
        place.edit("config.json", |config| config[key] = value);
        place.refused(&["not of one model", expected]);
    }
}

#[test]
fn weights_that_are_cut_short() {
    let place = Place::new();
    let path = place.model("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let most = bytes.len() - 1;
    let cases =
        [(0, "no safetensors"), (7, "no safetensors"), (8, "cut"), (100, "cut"), (most, "cut")];
    for (length, words) in cases {
        fs::write(&path, &bytes[..length]).unwrap();
        place.refused(&["model.safetensors", words]);
    }
}

#[test]
fn a_header_that_lies() {
    let place = Place::new();
    let path = place.model("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let mut absurd = bytes.clone();
    absurd[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&path, &absurd).unwrap();
    place.refused(&["model.safetensors"]);

    let entry = |from: u64, to: u64| {
        json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [from, to]}}).to_string()
    };
    for header in [entry(0, 1 << 60), entry(1 << 60, (1 << 60) + 4), entry(4, 0), "[]".to_owned()] {
        let length = (header.len() as u64).to_le_bytes();
        fs::write(&path, [&length, header.as_bytes(), &[0; 4]].concat()).unwrap();
        place.refused(&["model.safetensors"]);
    }
}

#[test]
fn a_tokenizer_of_another_model() {
    let place = Place::new();
    place.edit("tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["more"] = json!(99));
    place.refused(&["tokenizer.json", "99", "17 tokens"]);

    let place = Place::new();
    fs::write(place.model("tokenizer.json"), "{}").unwrap();
    place.refused(&["tokenizer.json"]);

    let place = Place::new();
    place.edit("tokenizer.json", |tokenizer| {
        tokenizer["post_processor"]["pair"][3]["Sequence"]["type_id"] = json!(2);
    });
    place.refused(&["tokenizer.json", "segment 2"]);

    let place = Place::new();
    place.edit("config.json", |config| config["pad_token_id"] = json!(17));
    place.refused(&["pads with token 17"]);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let place = Place::new();
    let out = place.folder.path().join("taken");
    fs::write(&out, "mine").unwrap();
    let error = import(&place.model(""), &out, &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&out).unwrap(), b"mine");
}

fn bundle() -> (tempfile::TempDir, Bundle) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    (folder, bundle)
}

#[test]
fn a_bundle_that_is_not_there_or_lacks_a_file() {
    let (_folder, bundle) = bundle();
    fs::remove_file(bundle.weights_path()).unwrap();
    let error = Bundle::open(bundle.path()).unwrap_err();
    assert!(matches!(&error, BundleError::Missing { path, .. } if *path == bundle.weights_path()));
    assert!(
        Bundle::open(&bundle.path().join("nowhere")).unwrap_err().to_string().contains("import")
    );
}

#[test]
fn a_truncated_file_shows_at_once_and_a_changed_one_when_verified() {
    let (_folder, bundle) = bundle();
    let mut weights = fs::read(bundle.weights_path()).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(bundle.weights_path(), &weights).unwrap();
    let changed = Bundle::open(bundle.path()).unwrap();
    let error = changed.verify().unwrap_err().to_string();
    assert!(error.contains("weights.safetensors") && error.contains("expected sha256"), "{error}");

    fs::write(bundle.weights_path(), &weights[1..]).unwrap();
    let error = Bundle::open(bundle.path()).unwrap_err().to_string();
    assert!(error.contains("weights.safetensors") && error.contains("bytes, got"), "{error}");
}

#[test]
fn a_manifest_that_is_not_ours() {
    let (_folder, bundle) = bundle();
    let manifest = bundle.path().join("manifest.json");
    let original = fs::read(&manifest).unwrap();
    let refused = |change: &dyn Fn(&mut Value), words: &str| {
        fs::write(&manifest, &original).unwrap();
        edit(&manifest, change);
        let error = Bundle::open(bundle.path()).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
    };
    refused(
        &|manifest| manifest["format"] = json!(4),
        "bundle format 4, this version reads formats 1 to 3",
    );
    refused(&|manifest| manifest["format"] = json!(0), "bundle format 0");
    refused(&|manifest| manifest["own_labels"] = json!(["a"]), "`own_labels` has 1 names");
    refused(&|manifest| manifest["model"]["own_outputs"] = json!(3), "contradicts the head");
    refused(&|manifest| manifest["model"]["language_head"] = json!(true), "contradicts the head");
    refused(&|manifest| manifest["network"]["norm"]["kind"] = json!("batch"), "`batch`");
    refused(&|manifest| manifest["model"]["layers"] = json!(2), "expected the fingerprint");
    refused(&|manifest| manifest["more"] = json!(1), "unknown field `more`");
    refused(&|manifest| manifest["files"] = json!({}), "lacks model.onnx");
    fs::write(&manifest, "").unwrap();
    assert!(matches!(Bundle::open(bundle.path()), Err(BundleError::Manifest { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damage_is_an_error_or_does_no_harm(
        file in 0_usize..3,
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let place = Place::new();
        let path = place.model(["config.json", "model.safetensors", "tokenizer.json"][file]);
        let mut bytes = fs::read(&path).unwrap();
        // The tensors' own bytes may be anything: of the weights, only the header is damaged.
        let at = at.index(bytes.len().min(4000));
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        let out = place.folder.path().join("bundle");
        match import(&place.model(""), &out, &ImportOptions::default()) {
            Ok(bundle) => bundle.verify().unwrap(),
            Err(_) => prop_assert!(!out.exists()),
        }
    }
}
