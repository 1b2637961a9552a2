//! What an import makes of a model folder.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::onnx::{GraphProto, ModelProto};
use mobillm_bundle::{Bundle, ImportOptions, import};
use mobillm_core::backbone::Pooling;
use prost::Message;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::json;

fn graph(bundle: &Bundle) -> GraphProto {
    let bytes = fs::read(bundle.graph_path()).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap()
}

fn write_json(path: &Path, value: &serde_json::Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

/// Rewrites the model's weights, `change` by `change` of a name, shape and bytes.
fn rewrite(model: &Path, mut change: impl FnMut(&str, TensorView<'_>) -> (String, Dtype, Vec<u8>)) {
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<_> =
        tensors.iter().map(|(name, view)| (view.shape().to_vec(), change(name, view))).collect();
    let views = changed.iter().map(|(shape, (name, dtype, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let rewritten = safetensors::serialize(views, None).unwrap();
    fs::write(path, rewritten).unwrap();
}

/// What a tensor of `transformers`' BERT is called in a bundle.
fn canonical(name: &str) -> String {
    [
        ("embeddings.word_embeddings", "embedding.tokens"),
        ("embeddings.position_embeddings", "embedding.positions"),
        ("embeddings.token_type_embeddings", "embedding.segments"),
        ("embeddings.LayerNorm", "embedding.norm"),
        ("encoder.layer", "layers"),
        ("attention.self", "attention"),
        ("attention.output.LayerNorm", "attention.norm"),
        ("attention.output.dense", "attention.output"),
        ("intermediate.dense", "feed_forward.up"),
        ("output.LayerNorm", "feed_forward.norm"),
        ("output.dense", "feed_forward.down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

#[test]
fn weights_are_written_once_and_the_graph_points_into_them() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = TinyBert::default();
    let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
    let weights = fs::read(bundle.weights_path()).unwrap();
    let tensors: HashMap<_, _> =
        tiny.tensors().into_iter().map(|(name, tensor)| (canonical(&name), tensor)).collect();
    let graph = graph(&bundle);
    let external = graph.initializer.iter().filter(|tensor| !tensor.external_data.is_empty());
    let mut seen = 0;
    for tensor in external {
        let entries: HashMap<_, _> =
            tensor.external_data.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
        assert_eq!(entries["location"], "weights.safetensors");
        let (offset, length): (usize, usize) =
            (entries["offset"].parse().unwrap(), entries["length"].parse().unwrap());
        assert_eq!(&weights[offset..offset + length], tensors[&tensor.name].1);
        seen += 1;
    }
    assert_eq!(seen, tensors.len());
    let bytes: usize = tensors.values().map(|(_, bytes)| bytes.len()).sum();
    assert!(weights.len() < bytes + 64 * (tensors.len() + 100), "no tensor is there twice");
    let small = graph.initializer.iter().map(|tensor| tensor.raw_data.len()).max().unwrap();
    assert!(small <= 24, "{small} bytes of a weight are in the graph");
}

#[test]
fn the_manifest_says_what_the_model_is() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let info = bundle.info();
    assert_eq!(info.architecture, "bert");
    assert_eq!((info.layers, info.hidden, info.max_tokens), (3, 16, 32));
    assert_eq!((info.vocabulary, info.own_outputs), (TinyBert::VOCABULARY, None));
    assert_eq!((info.pooling, bundle.padding()), (Pooling::FirstToken, 0));
    assert_eq!((bundle.manifest().format, bundle.own_labels()), (3, None));
    assert!(!bundle.network().unwrap().attention.causal);
    bundle.verify().unwrap();
    let graph = graph(&bundle);
    let made: Vec<&str> = graph.node.iter().flat_map(|node| &node.output).map(|o| &**o).collect();
    for layer in 0..=3 {
        assert!(made.contains(&&*format!("tap.{layer}")));
    }
    let outputs: Vec<&str> = graph.output.iter().map(|output| &*output.name).collect();
    assert_eq!(outputs, ["tap.3"]);
}

#[test]
fn equal_models_have_equal_fingerprints() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = |name: &str, tiny: &TinyBert| tiny.bundle(&folder.path().join(name)).unwrap();
    let first = bundle("first", &TinyBert::default());
    let again = bundle("again", &TinyBert::default());
    let other = bundle("other", &TinyBert { seed: 2, ..TinyBert::default() });
    assert_eq!(first.info().bundle, again.info().bundle);
    assert_ne!(first.info().bundle, other.info().bundle);
}

#[test]
fn pooling_and_limit_come_from_the_models_own_files() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    TinyBert::default().write(&model).unwrap();
    let module = |path: &str, kind: &str| json!({"path": path, "type": format!("sentence_transformers.models.{kind}")});
    let modules = json!([module("", "Transformer"), module("1_Pooling", "Pooling")]);
    write_json(&model.join("modules.json"), &modules);
    write_json(&model.join("sentence_bert_config.json"), &json!({"max_seq_length": 9}));
    let modes = [
        ("pooling_mode_cls_token", Pooling::FirstToken),
        ("pooling_mode_mean_tokens", Pooling::Mean),
        ("pooling_mode_lasttoken", Pooling::LastToken),
    ];
    for (mode, pooling) in modes {
        write_json(&model.join("1_Pooling/config.json"), &json!({mode: true}));
        let info = import(&model, &folder.path().join(mode), &ImportOptions::default())
            .unwrap()
            .info()
            .clone();
        assert_eq!((info.pooling, info.max_tokens), (pooling, 9));
    }
    let mean = "pooling_mode_mean_tokens";
    let others = [
        json!({}),
        json!({mean: false}),
        json!({mean: "yes"}),
        json!({"pooling_mode_max_tokens": true}),
        json!({mean: true, "pooling_mode_max_tokens": true}),
        json!({mean: true, "pooling_mode_weightedmean_tokens": true}),
        json!({mean: true, "pooling_mode_cls_token": true}),
    ];
    for modes in others {
        write_json(&model.join("1_Pooling/config.json"), &modes);
        let error = import(&model, &folder.path().join("other"), &ImportOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("1_Pooling") && error.contains("exactly one"), "{modes}: {error}");
    }
    let modes =
        json!({mean: true, "pooling_mode_max_tokens": false, "word_embedding_dimension": 64});
    write_json(&model.join("1_Pooling/config.json"), &modes);
    assert!(import(&model, &folder.path().join("mean"), &ImportOptions::default()).is_ok());
}

#[test]
fn a_folder_may_be_called_anything() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.gguf", "model.onnx"] {
        let model = folder.path().join(name);
        TinyBert::default().write(&model).unwrap();
        let out = folder.path().join(format!("of-{name}"));
        let bundle = import(&model, &out, &ImportOptions::default()).unwrap();
        assert_eq!(bundle.info().architecture, "bert");
    }
    let out = folder.path().join("none");
    let error = import(&folder.path().join("none.gguf"), &out, &ImportOptions::default());
    assert!(error.unwrap_err().to_string().contains("none.gguf: "));
}

#[test]
fn shards_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, model) = (folder.path().join("whole"), folder.path().join("model"));
    let tiny = TinyBert::default();
    tiny.write(&whole).unwrap();
    tiny.write(&model).unwrap();
    fs::remove_file(model.join("model.safetensors")).unwrap();
    let tensors: Vec<_> = tiny.tensors().into_iter().collect();
    let mut places = serde_json::Map::new();
    for (number, part) in tensors.chunks(tensors.len() / 2 + 1).enumerate() {
        let name = format!("model-{number}.safetensors");
        let views = part.iter().map(|(name, (shape, bytes))| {
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        fs::write(model.join(&name), safetensors::serialize(views, None).unwrap()).unwrap();
        places.extend(part.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
    }
    write_json(&model.join("model.safetensors.index.json"), &json!({"weight_map": places}));

    let bundle = import(&model, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();
    let merged = fs::read(bundle.weights_path()).unwrap();
    let merged = SafeTensors::deserialize(&merged).unwrap();
    assert_eq!(merged.len(), tensors.len());
    for (name, (_, bytes)) in &tensors {
        assert_eq!(merged.tensor(&canonical(name)).unwrap().data(), bytes);
    }

    fs::remove_file(model.join("model-1.safetensors")).unwrap();
    let error = import(&model, &folder.path().join("lacking"), &ImportOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("model-1.safetensors"), "{error}");
    let outside = json!({"weight_map": {"a": "../model.safetensors"}});
    write_json(&model.join("model.safetensors.index.json"), &outside);
    let error = import(&model, &folder.path().join("outside"), &ImportOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a file name"), "{error}");
}

#[test]
fn half_precision_is_widened() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    TinyBert::default().write(&model).unwrap();
    rewrite(&model, |name, view| {
        let numbers = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let halves = numbers.flat_map(|number| match name.contains("query") {
            true => half::bf16::from_f32(number).to_le_bytes(),
            false => half::f16::from_f32(number).to_le_bytes(),
        });
        let dtype = if name.contains("query") { Dtype::BF16 } else { Dtype::F16 };
        (name.to_owned(), dtype, halves.collect())
    });
    let bundle = import(&model, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();
    let bytes = fs::read(bundle.weights_path()).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    for (name, (_, expected)) in TinyBert::default().tensors() {
        let tensor = weights.tensor(&canonical(&name)).unwrap();
        assert_eq!(tensor.dtype(), Dtype::F32);
        let pairs = tensor.data().as_chunks().0.iter().zip(expected.as_chunks().0);
        for (got, expected) in pairs {
            let (got, expected) = (f32::from_le_bytes(*got), f32::from_le_bytes(*expected));
            assert!((got - expected).abs() <= expected.abs() / 128.0 + 1e-6, "{name}");
        }
    }
}

#[test]
fn names_of_heads_and_of_old_checkpoints_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    TinyBert { prefix: "bert.".to_owned(), ..TinyBert::default() }.write(&model).unwrap();
    rewrite(&model, |name, view| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        let name = name.replace("LayerNorm.bias", "LayerNorm.beta");
        (name, view.dtype(), view.data().to_vec())
    });
    import(&model, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();
}
