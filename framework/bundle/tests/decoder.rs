//! What the writer makes of a decoder, in every weight format.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use mobillm_bundle::fixture::TinyDecoder;
use mobillm_bundle::onnx::{GraphProto, ModelProto};
use mobillm_bundle::{Bundle, FORMAT, WeightFormat};
use mobillm_core::backbone::Pooling;
use prost::Message;

fn model(bundle: &Bundle) -> ModelProto {
    let bytes = fs::read(bundle.graph_path()).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap()
}

fn bundles() -> Vec<(tempfile::TempDir, Bundle)> {
    let write = |weights| {
        let folder = tempfile::tempdir().unwrap();
        let tiny = TinyDecoder { weights, ..TinyDecoder::default() };
        let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
        (folder, bundle)
    };
    WeightFormat::ALL.map(write).into_iter().collect()
}

fn operators(graph: &GraphProto) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in &graph.node {
        *counts.entry(&*node.op_type).or_default() += 1;
    }
    counts
}

#[test]
fn the_manifest_says_what_the_model_is() {
    for (_folder, bundle) in bundles() {
        let info = bundle.info();
        assert_eq!((info.layers, info.hidden, info.pooling), (3, 64, Pooling::LastToken));
        assert_eq!((info.own_outputs, info.language_head), (None, true));
        assert_eq!(bundle.manifest().format, FORMAT);
        let network = bundle.network().unwrap();
        assert_eq!((network.attention.heads, network.attention.key_heads), (4, 2));
        bundle.verify().unwrap();
        assert_eq!(Bundle::open(bundle.path()).unwrap().manifest(), bundle.manifest());
    }
    let formats: HashSet<_> = bundles().iter().map(|(_, bundle)| bundle.weight_format()).collect();
    let names: HashSet<_> = bundles().iter().map(|(_, bundle)| bundle.info().bundle).collect();
    assert_eq!((formats.len(), names.len()), (5, 5));
}

#[test]
fn a_causal_graph_takes_no_mask_and_gives_all_taps() {
    for (_folder, bundle) in bundles() {
        let model = model(&bundle);
        let graph = model.graph.as_ref().unwrap();
        let names = |values: &[mobillm_bundle::onnx::ValueInfoProto]| -> Vec<String> {
            values.iter().map(|value| value.name.clone()).collect()
        };
        assert_eq!(names(&graph.input), ["input_ids", "last_tokens"]);
        assert_eq!(names(&graph.output), ["tap.3", "own_state"]);
        let made: Vec<&String> = graph.node.iter().flat_map(|node| &node.output).collect();
        for layer in 0..=3 {
            assert_eq!(made.iter().filter(|name| ***name == format!("tap.{layer}")).count(), 1);
        }
    }
}

/// Every value is made before it is taken, and no two nodes compute the same.
#[test]
fn a_graph_is_in_order_and_computes_nothing_twice() {
    for (_folder, bundle) in bundles() {
        let graph = model(&bundle).graph.unwrap();
        let mut known: HashSet<String> = graph.input.iter().map(|it| it.name.clone()).collect();
        known.extend(graph.initializer.iter().map(|it| it.name.clone()));
        known.insert(String::new());
        let mut computed = HashSet::new();
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input), "{} takes {input}, which is not there", node.name);
            }
            for output in &node.output {
                assert!(known.insert(output.clone()), "{output} is made twice");
            }
            let mut nameless = node.clone();
            nameless.output.clear();
            nameless.name.clear();
            assert!(computed.insert(nameless.encode_to_vec()), "{} is a copy", node.name);
        }
    }
}

#[test]
fn each_format_has_its_operators() {
    let expected: [(WeightFormat, &[(&str, usize)]); 5] = [
        (WeightFormat::F32, &[("Gemm", 21), ("Gather", 1), ("RMSNormalization", 7)]),
        (WeightFormat::F16, &[("Gemm", 21), ("Cast", 23), ("Gather", 1)]),
        (WeightFormat::Q8, &[("MatMulNBits", 21), ("GatherBlockQuantized", 1)]),
        (WeightFormat::Q4, &[("MatMulNBits", 21), ("GatherBlockQuantized", 1)]),
        (
            WeightFormat::Int8,
            &[
                ("Int8Linear", 21),
                ("NormQuantizeRows", 6),
                ("ActivateQuantizeRows", 3),
                ("QuantizeRows", 3),
                ("Attention", 3),
                ("GatherBlockQuantized", 1),
                ("RMSNormalization", 1),
            ],
        ),
    ];
    let bundles = bundles();
    for ((_folder, bundle), (format, counts)) in bundles.iter().zip(expected) {
        assert_eq!(bundle.weight_format(), format);
        let model = model(bundle);
        let graph = model.graph.unwrap();
        let operators = operators(&graph);
        for (name, count) in counts {
            assert_eq!(operators.get(name), Some(count), "{format}: {name} in {operators:?}");
        }
        let domains: HashSet<_> = model.opset_import.iter().map(|set| &*set.domain).collect();
        let used: HashSet<_> = graph.node.iter().map(|node| &*node.domain).collect();
        assert_eq!(domains, used, "{format}");
    }
}

#[test]
fn attention_is_steady_where_any_map_is_int8() {
    let folder = tempfile::tempdir().unwrap();
    // Only the maps down have columns that can be quantized: attention's own are f32.
    let tiny = TinyDecoder {
        hidden: 48,
        inner: 64,
        weights: WeightFormat::Int8,
        ..TinyDecoder::default()
    };
    let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
    let graph = model(&bundle).graph.unwrap();
    assert_eq!(operators(&graph).get("Int8Linear"), Some(&3));
    let attention: Vec<&str> = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Attention")
        .map(|node| &*node.domain)
        .collect();
    assert_eq!(attention, ["mobillm"; 3]);
}

#[test]
fn the_graph_points_into_the_weights() {
    for (_folder, bundle) in bundles() {
        let weights = bundle.weights().unwrap();
        let size = fs::metadata(bundle.weights_path()).unwrap().len();
        let graph = model(&bundle).graph.unwrap();
        let mut seen = HashSet::new();
        for tensor in graph.initializer.iter().filter(|tensor| !tensor.external_data.is_empty()) {
            let entries: HashMap<_, _> =
                tensor.external_data.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
            let location = weights.location(&tensor.name).unwrap();
            let (offset, length): (usize, usize) =
                (entries["offset"].parse().unwrap(), entries["length"].parse().unwrap());
            assert_eq!((location.offset, location.length), (offset, length));
            assert!((offset + length) as u64 <= size);
            let elements: i64 = tensor.dims.iter().product();
            let stored: usize = location.shape.iter().product();
            assert_eq!(elements as usize, stored, "{}", tensor.name);
            seen.insert(tensor.name.clone());
        }
        let unseen: Vec<&str> = weights.names().filter(|name| !seen.contains(*name)).collect();
        assert_eq!(unseen, Vec::<&str>::new(), "a tied head has no matrix of its own");
    }
}

#[test]
fn rows_of_the_head_are_those_of_its_matrix() {
    for tied in [true, false] {
        for weights in WeightFormat::ALL {
            let folder = tempfile::tempdir().unwrap();
            let tiny = TinyDecoder { weights, tied, ..TinyDecoder::default() };
            let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
            let name = if tied { "embedding.tokens.weight" } else { "head.vocabulary.weight" };
            let weights = bundle.weights().unwrap();
            let matrix = weights.matrix(name).unwrap();
            let mut all = vec![0.0; TinyDecoder::VOCABULARY * 64];
            matrix.dequantize_rows(0..TinyDecoder::VOCABULARY, &mut all).unwrap();
            let tokens = [5, 0, TinyDecoder::VOCABULARY as u32 - 1, 5];
            let rows = bundle.label_rows(&tokens).unwrap();
            assert_eq!(rows.dim(), (4, 64));
            for (row, token) in rows.rows().into_iter().zip(tokens) {
                let at = token as usize * 64;
                assert_eq!(row.to_vec(), all[at..at + 64]);
            }
            let error = bundle.label_rows(&[3, 400]).unwrap_err().to_string();
            let words = format!("token 400 is not one of the model's {}", TinyDecoder::VOCABULARY);
            assert!(error.contains(&words), "{error}");
        }
    }
}

#[test]
fn words_keep_the_space_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyDecoder::default().bundle(&folder.path().join("bundle")).unwrap();
    let tokenizer = bundle.tokenizer(None).unwrap();
    let (good, spaced) = (tokenizer.word("good").unwrap(), tokenizer.word(" good").unwrap());
    assert_ne!(good, spaced);
    let prompt = tokenizer.encode("Review: the good tap\nSentiment:", None).unwrap();
    assert_eq!(prompt.tokens.ids.len(), 7);
    assert!(prompt.tokens.ids.contains(&spaced) && !prompt.tokens.ids.contains(&good));
    assert!(!prompt.tokens.ids.contains(&0), "every part is a word");
    assert!(tokenizer.word(" good bad").unwrap_err().contains("2 tokens"));
}
