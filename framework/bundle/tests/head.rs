//! What an import makes of a model's task head, and which heads it refuses.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::onnx::{Axis, FLOAT, ModelProto, ValueInfoProto};
use mobillm_bundle::{Bundle, ImportError, ImportOptions, OWN_PREDICTION, import};
use prost::Message;
use safetensors::tensor::{SafeTensors, TensorView};
use serde_json::{Value, json};

/// The folder of a model with a head, and where its bundle would go.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(tiny: &TinyBert) -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny.write(&folder.path().join("model")).unwrap();
        Self { folder }
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn import(&self) -> Result<Bundle, ImportError> {
        import(&self.model(), &self.folder.path().join("bundle"), &ImportOptions::default())
    }

    fn edit_config(&self, change: impl FnOnce(&mut Value)) {
        let path = self.model().join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    #[track_caller]
    fn imports_without_head(&self) {
        let bundle = self.import().unwrap();
        assert_eq!((bundle.manifest().format, bundle.info().own_outputs), (3, None));
        assert_eq!(bundle.own_labels(), None);
        let bytes = fs::read(bundle.graph_path()).unwrap();
        let graph = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
        assert!(graph.output.iter().all(|output| output.name != OWN_PREDICTION));
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        let error = self.import().unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        assert!(!self.folder.path().join("bundle").exists(), "something was left behind");
    }
}

/// Leaves the tensors out whose names begin with `name`.
fn without(model: &Path, name: &str) {
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.iter().filter(|(tensor, _)| !tensor.starts_with(name));
    let rewritten = safetensors::serialize(kept, None).unwrap();
    fs::write(path, rewritten).unwrap();
}

/// Gives the tensor `name` another shape of as many elements.
fn reshape(model: &Path, name: &str, shape: &[usize]) {
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let reshaped = tensors.iter().map(|(tensor, view)| match tensor == name {
        true => (tensor, TensorView::new(view.dtype(), shape.to_vec(), view.data()).unwrap()),
        false => (tensor, view),
    });
    let rewritten = safetensors::serialize(reshaped, None).unwrap();
    fs::write(path, rewritten).unwrap();
}

#[test]
fn the_graph_and_the_manifest_have_the_head() {
    for outputs in [1, 2, 5] {
        let place = Place::new(&TinyBert::with_head(outputs));
        let bundle = place.import().unwrap();
        assert_eq!((bundle.manifest().format, bundle.info().own_outputs), (3, Some(outputs)));
        let names: Vec<String> = (0..outputs).map(|id| format!("class {id}")).collect();
        assert_eq!(bundle.own_labels(), Some(&*names));
        let bytes = fs::read(bundle.graph_path()).unwrap();
        let graph = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
        let axes = [Axis::Named("batch"), Axis::Fixed(outputs)];
        assert_eq!(graph.output[0].name, "tap.3");
        assert_eq!(graph.output[1..], [ValueInfoProto::tensor(OWN_PREDICTION, FLOAT, &axes)]);
    }
}

/// What is done to a `config.json`.
type Change = fn(&mut Value);

#[test]
fn the_outputs_are_those_of_the_weights_and_need_no_names() {
    let unnamed = |outputs: usize, change: Change| {
        let place = Place::new(&TinyBert::with_head(outputs));
        place.edit_config(|config| config["id2label"] = Value::Null);
        place.edit_config(change);
        let bundle = place.import().unwrap();
        assert_eq!((bundle.info().own_outputs, bundle.own_labels()), (Some(outputs), None));
    };
    unnamed(3, |_| ());
    unnamed(3, |config| config["num_labels"] = json!(3));
    unnamed(3, |config| config["architectures"] = Value::Null);
    unnamed(1, |config| config["problem_type"] = json!("regression"));
    // What `transformers` writes where nobody gave names.
    unnamed(2, |config| config["id2label"] = json!({"0": "LABEL_0", "1": "LABEL_1"}));
}

#[test]
fn names_are_in_the_order_of_their_numbers() {
    let place = Place::new(&TinyBert::with_head(11));
    let names: Vec<String> = (0..11).map(|id| format!("word {}", 10 - id)).collect();
    let labels: serde_json::Map<_, _> =
        names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
    place.edit_config(|config| config["id2label"] = labels.into());
    assert_eq!(place.import().unwrap().own_labels(), Some(&*names));
}

#[test]
fn a_head_of_another_task_is_left_out() {
    let tiny = TinyBert::with_head(3);
    // A label for each token, without a pooler; a masked language model with one; and classes whose
    // tensors are named like those of the head that is imported.
    for (classes, missing) in [
        (json!(["BertForTokenClassification"]), Some("bert.pooler")),
        (json!(["BertForMaskedLM"]), Some("classifier")),
        (json!(["BertForMultipleChoice"]), None),
        (json!(["SomebodysOwnBert", "BertModel"]), None),
        (json!([]), None),
    ] {
        let place = Place::new(&tiny);
        place.edit_config(|config| config["architectures"] = classes);
        missing.inspect(|missing| without(&place.model(), missing));
        place.imports_without_head();
    }
}

#[test]
fn a_head_of_several_labels_at_once_is_left_out() {
    let place = Place::new(&TinyBert::with_head(3));
    place.edit_config(|config| config["problem_type"] = json!("multi_label_classification"));
    place.imports_without_head();
}

#[test]
fn a_head_that_is_not_whole() {
    for missing in ["classifier.weight", "classifier.bias", "bert.pooler.dense.bias"] {
        let place = Place::new(&TinyBert::with_head(3));
        without(&place.model(), missing);
        let name = missing.trim_start_matches("bert.");
        place.refused(&["lacks", name, "classifier.weight [labels, 16]", "AutoModel"]);
    }
    let place = Place::new(&TinyBert::with_head(3));
    place.edit_config(|config| config["architectures"] = Value::Null);
    without(&place.model(), "bert.pooler");
    place.refused(&["lacks pooler.dense.weight", "BertForSequenceClassification"]);

    let place = Place::new(&TinyBert::with_head(3));
    without(&place.model(), "classifier");
    place.refused(&["lacks classifier.weight"]);
}

#[test]
fn a_head_of_another_shape() {
    let cases = [
        ("classifier.weight", &[16, 4][..], "[16, 4], expected [16, 16]"),
        ("classifier.weight", &[64], "[64], expected [64, 16]"),
        ("classifier.weight", &[4, 4, 4], "[4, 4, 4], expected [4, 16]"),
        ("classifier.bias", &[2, 2], "[2, 2], expected [4]"),
        ("bert.pooler.dense.weight", &[8, 32], "[8, 32], expected [16, 16]"),
    ];
    for (name, shape, words) in cases {
        let place = Place::new(&TinyBert::with_head(4));
        reshape(&place.model(), name, shape);
        place.refused(&["the task head has", words, "classifier.bias [labels]"]);
    }
    Place::new(&TinyBert::with_head(0)).refused(&["classifier.weight [0, 16], expected [1, 16]"]);
}

#[test]
fn a_config_that_contradicts_the_head() {
    let cases: [(Change, &str); 6] = [
        (|config| config["num_labels"] = json!(2), "`num_labels` makes it 2 labels"),
        (
            |config| config["id2label"] = json!({"0": "no", "1": "yes"}),
            "has 3 outputs; config.json and weights are not of one model",
        ),
        (
            |config| config["id2label"] = json!({"0": "a", "1": "b", "3": "c"}),
            "names label 3, expected labels 0 to 2",
        ),
        (|config| config["id2label"] = json!({"zero": "a"}), "invalid"),
        (|config| config["problem_type"] = json!("regression"), "3 outputs, expected one"),
        (
            |config| config["problem_type"] = json!("ranking"),
            "expected \"single_label_classification\", \"multi_label_classification\" or",
        ),
    ];
    for (change, words) in cases {
        let place = Place::new(&TinyBert::with_head(3));
        place.edit_config(change);
        place.refused(&["config.json", words]);
    }
}
