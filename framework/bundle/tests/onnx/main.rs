//! Graphs that somebody else exported become bundles, whatever form their weights have.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use mobillm_bundle::fixture::ForeignGraph;
use mobillm_bundle::onnx::{
    DataLocation, FLOAT, GraphProto, INT8, ModelProto, StringStringEntryProto, TensorProto,
};
use mobillm_bundle::{Bundle, FORMAT, ImportOptions, WeightFormat, import};
use mobillm_core::backbone::Pooling;
use prost::Message;
use serde_json::Value;

/// The folder of a foreign model, and where its bundle would go.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(family: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let graphs = ForeignGraph::all();
        let graph = graphs.iter().find(|graph| graph.family.name == family).unwrap();
        graph.write(&folder.path().join("model")).unwrap();
        // What the graph was exported from is not there as a rule.
        fs::remove_file(folder.path().join("model/model.safetensors")).unwrap();
        Self { folder }
    }

    fn model(&self, file: &str) -> PathBuf {
        self.folder.path().join("model").join(file)
    }

    fn change_model(&self, change: impl FnOnce(&mut ModelProto)) {
        let path = self.model("model.onnx");
        let mut model = ModelProto::decode(&*fs::read(&path).unwrap()).unwrap();
        change(&mut model);
        fs::write(path, model.encode_to_vec()).unwrap();
    }

    fn change_graph(&self, change: impl FnOnce(&mut GraphProto)) {
        self.change_model(|model| change(model.graph.as_mut().unwrap()));
    }

    fn change_config(&self, change: impl FnOnce(&mut Value)) {
        let path = self.model("config.json");
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    fn import(&self) -> Bundle {
        let out = tempfile::tempdir_in(self.folder.path()).unwrap().keep().join("bundle");
        import(&self.model("model.onnx"), &out, &ImportOptions::default()).unwrap()
    }

    /// The error of an import, which must say all of `words` and write nothing.
    #[track_caller]
    fn refused(&self, options: &ImportOptions, words: &[&str]) {
        let out = self.folder.path().join("bundles/new");
        let error = import(&self.model("model.onnx"), &out, options).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        let left = fs::read_dir(self.folder.path().join("bundles"));
        assert!(left.is_err() || left.unwrap().next().is_none(), "something was left behind");
    }
}

fn graph_of(bundle: &Bundle) -> GraphProto {
    let bytes = fs::read(bundle.graph_path()).unwrap();
    ModelProto::decode(&*bytes).unwrap().graph.unwrap()
}

/// Name and elements of every weight, wherever it is.
fn weights(bundle: &Bundle) -> Vec<(String, Vec<u8>)> {
    let file = fs::read(bundle.weights_path()).unwrap();
    let elements = |tensor: &TensorProto| match tensor.external("location") {
        Some("weights.safetensors") => {
            let number = |key| tensor.external(key).unwrap().parse::<usize>().unwrap();
            file[number("offset")..][..number("length")].to_vec()
        }
        location => {
            assert_eq!(location, None);
            tensor.raw_data.to_vec()
        }
    };
    let graph = graph_of(bundle);
    graph.initializer.iter().map(|tensor| (tensor.name.clone(), elements(tensor))).collect()
}

#[test]
fn the_manifest_says_what_graph_and_config_say() {
    let place = Place::new("bert");
    let bundle = place.import();
    bundle.verify().unwrap();
    let info = bundle.info();
    assert_eq!((&*info.architecture, info.layers, info.hidden), ("bert", 2, 32));
    assert_eq!((info.vocabulary, info.max_tokens, info.pooling), (40, 48, Pooling::FirstToken));
    assert_eq!((info.own_outputs, info.language_head, bundle.padding()), (Some(3), false, 0));
    let manifest = bundle.manifest();
    assert_eq!(
        (manifest.format, &manifest.network, manifest.weights),
        (FORMAT, &None, WeightFormat::F32)
    );

    let place = Place::new("llama-biased");
    let bundle = place.import();
    let info = bundle.info();
    assert_eq!((&*info.architecture, info.hidden, info.vocabulary), ("llama", 48, 40));
    assert_eq!((info.own_outputs, info.pooling), (None, Pooling::LastToken));
}

#[test]
fn the_large_weights_are_in_one_file_and_the_small_ones_in_the_graph() {
    let place = Place::new("bert");
    let bundle = place.import();
    let graph = graph_of(&bundle);
    let (mut inside, mut outside) = (0, 0);
    for tensor in &graph.initializer {
        match tensor.data_location == i32::from(DataLocation::External) {
            true => outside += 1,
            false => inside = inside.max(tensor.raw_data.len()),
        }
    }
    assert!(
        outside > 12 && (64..1024).contains(&inside),
        "{outside} outside, {inside} bytes inside"
    );
    assert!(bundle.manifest().files["model.onnx"].size < 40_000);
    let permissions = |path: &Path| fs::metadata(path).unwrap().permissions();
    assert_eq!(permissions(&bundle.weights_path()), permissions(&bundle.graph_path()));
}

/// Exporters write a tensor's elements as bytes, as numbers, or into a file of its own.
#[test]
fn weights_are_the_same_wherever_they_were() {
    let plain = Place::new("bert");
    let plain = weights(&plain.import());

    let numbers = Place::new("bert");
    numbers.change_graph(|graph| {
        for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.data_type == FLOAT) {
            let bytes = std::mem::take(&mut tensor.raw_data);
            let values = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            tensor.float_data = values.collect();
        }
    });
    assert_eq!(weights(&numbers.import()), plain);

    let beside = Place::new("bert");
    fs::create_dir(beside.model("weights")).unwrap();
    beside.change_graph(|graph| {
        let mut file = vec![0xaa; 7];
        for tensor in &mut graph.initializer {
            let bytes = std::mem::take(&mut tensor.raw_data);
            externalize(tensor, "weights/all.bin", file.len(), bytes.len());
            file.extend(bytes);
        }
        fs::write(beside.model("weights/all.bin"), file).unwrap();
    });
    assert_eq!(weights(&beside.import()), plain);
}

fn externalize(tensor: &mut TensorProto, file: &str, offset: usize, length: usize) {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    tensor.data_location = DataLocation::External.into();
    tensor.external_data = vec![
        entry("location", file.to_owned()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
}

/// Of what type a weight is, nobody but the graph needs to know.
#[test]
fn weights_of_other_types_are_kept() {
    let place = Place::new("bert");
    let types = [
        (INT8, 1500, 1500),
        (10, 1000, 2000),
        (16, 1000, 2000),
        (22, 4001, 2001),
        (17, 1500, 1500),
    ];
    place.change_graph(|graph| {
        for (data_type, elements, bytes) in types {
            let name = format!("of type {data_type}");
            graph.initializer.push(TensorProto {
                dims: vec![elements],
                data_type,
                name: name.clone(),
                raw_data: (0..bytes).map(|at| (at % 251) as u8).collect(),
                ..TensorProto::default()
            });
            // Somebody takes it, or it would be dropped.
            let add =
                graph.node.iter_mut().find(|node| node.op_type == "LayerNormalization").unwrap();
            add.input.push(name);
        }
    });
    let weights = weights(&place.import());
    for (data_type, _, bytes) in types {
        let (_, kept) =
            weights.iter().find(|(name, _)| *name == format!("of type {data_type}")).unwrap();
        assert!(
            kept.len() == bytes
                && kept.iter().enumerate().all(|(at, &byte)| byte == (at % 251) as u8)
        );
    }
}

#[test]
fn tokenizer_and_config_may_lie_above_the_graph() {
    let place = Place::new("bert");
    let above = place.import();
    fs::create_dir(place.model("onnx")).unwrap();
    fs::rename(place.model("model.onnx"), place.model("onnx/model_fp32.onnx")).unwrap();
    let out = place.folder.path().join("bundle");
    let path = place.model("onnx/model_fp32.onnx");
    let bundle = import(&path, &out, &ImportOptions::default()).unwrap();
    assert_eq!(bundle.info(), above.info());
}

#[test]
fn taps_can_be_named() {
    let place = Place::new("bert");
    let mut norms = Vec::new();
    place.change_graph(|graph| {
        let made = graph.node.iter().filter(|node| node.op_type == "LayerNormalization");
        norms = made.map(|node| node.output[0].clone()).collect();
    });
    // Embedding, then attention and feed-forward part of two layers: each part may count as a layer.
    let options = ImportOptions { taps: norms, ..ImportOptions::default() };
    let out = place.folder.path().join("bundle");
    let bundle = import(&place.model("model.onnx"), &out, &options).unwrap();
    assert_eq!((bundle.info().layers, bundle.info().hidden), (4, 32));

    let options = ImportOptions { taps: vec!["nobody".to_owned()], ..ImportOptions::default() };
    let words = ["model.onnx", "\"nobody\" is no value", " (LayerNormalization)", "--tap VALUE"];
    place.refused(&options, &words);
    // The model's answer for a text is no hidden state of its tokens.
    let mut options = ImportOptions::default();
    place.change_graph(|graph| {
        let norm = graph.node.iter().find(|node| node.op_type == "LayerNormalization").unwrap();
        options.taps = vec![norm.output[0].clone(), graph.output[0].name.clone()];
    });
    place.refused(&options, &["model.onnx", "\"logits\"", "[batch, tokens, hidden]"]);
}
