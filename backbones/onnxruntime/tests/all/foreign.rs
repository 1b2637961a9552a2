//! Graphs that somebody else exported: their taps are the hidden states of the model.

use std::fs;

use mobillm_bundle::fixture::{ForeignGraph, Projections};
use mobillm_bundle::onnx::{
    AttributeProto, Axis, FLOAT, GraphProto, INT64, NodeProto, ValueInfoProto,
};
use mobillm_bundle::{Bundle, ImportOptions, import};
use mobillm_core::backbone::{ForwardContext, Pooling, Tap, TokenBatch, Tokens};
use ndarray::s;
use prost::Message;
use serde::Deserialize;

use crate::setup;

/// Distance of two hidden states, relative to the norm.
const TOLERANCE: f64 = 1e-4;

#[test]
fn taps_of_every_exporter_agree_with_transformers() {
    let folder = tempfile::tempdir().unwrap();
    for graph in ForeignGraph::all() {
        let name = format!("{} {}", graph.family.name, graph.exporter);
        let model = folder.path().join(&name);
        graph.write(&model).unwrap();
        let (path, out) = (model.join("model.onnx"), folder.path().join(format!("{name} bundle")));
        let bundle = import(&path, &out, &ImportOptions::default()).unwrap();
        bundle.verify().unwrap();
        let mut backbone = setup::build(&bundle, &[0, 1, 2]);
        let distance = graph.family.distance(&bundle, &mut *backbone).unwrap();
        assert!(distance < TOLERANCE, "{name} is off by {distance:.1e}");
        println!("{name}: largest relative distance {distance:.1e}");
    }
}

/// What a tap is does not depend on batch mates or on other taps, for one graph of each family.
#[test]
fn the_laws_hold_for_graphs_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let is_one = |graph: &&ForeignGraph| graph.exporter == "fused" || graph.family.name != "bert";
    for graph in ForeignGraph::all().iter().filter(is_one) {
        let model = folder.path().join(&graph.family.name);
        graph.write(&model).unwrap();
        let out = folder.path().join(format!("{} bundle", graph.family.name));
        let bundle = import(&model.join("model.onnx"), &out, &ImportOptions::default()).unwrap();
        mobillm_testkit::backbone::conformance(&|taps| setup::build(&bundle, taps));
    }
}

#[derive(Deserialize)]
struct Golden {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    ids: Vec<u32>,
    segments: Vec<u32>,
    layers: Vec<Projections>,
}

impl Golden {
    /// The largest distance of the taps of `bundle`.
    fn distance(&self, bundle: &Bundle) -> f64 {
        let tokens =
            |sample: &Sample| Tokens { ids: sample.ids.clone(), segments: sample.segments.clone() };
        let tokens: Vec<Tokens> = self.samples.iter().map(tokens).collect();
        let (mut worst, mut taps): (f64, _) = (0.0, 0);
        let mut sink = |tap: Tap<'_>| {
            taps += 1;
            for (row, sample) in self.samples.iter().enumerate() {
                let hidden = tap.hidden.slice(s![row, ..tap.lengths[row], ..]);
                worst = worst.max(sample.layers[tap.layer].distance(hidden));
            }
            Ok(())
        };
        let layers: Vec<usize> = (0..=bundle.info().layers).collect();
        let batch = TokenBatch::new(&tokens, bundle.padding());
        let mut backbone = setup::build(bundle, &layers);
        backbone.forward(&batch, &ForwardContext::default(), &mut sink).unwrap();
        assert_eq!(taps, self.samples[0].layers.len());
        worst
    }
}

/// A graph that a package carries: PyTorch's newer exporter, then 8 bit weights by a script of theirs.
#[test]
fn a_graph_from_a_package_gets_its_taps() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (setup::fixture("all-minilm-l6-v2-onnx"), folder.path().join("bundle"));
    let bundle = import(&model, &out, &ImportOptions::default()).unwrap();
    let info = bundle.info();
    assert_eq!((info.layers, info.hidden, info.vocabulary), (6, 384, 30522));
    assert_eq!((info.pooling, info.max_tokens), (Pooling::Mean, 256));
    assert_eq!((info.own_outputs, info.language_head), (None, false));
    let golden = |text: &str| serde_json::from_str::<Golden>(text).unwrap();
    // What ONNX Runtime computes for the graph as it was.
    let distance = golden(include_str!("../../golden/minilm_onnx.json")).distance(&bundle);
    assert!(distance < TOLERANCE, "off by {distance:.1e}");
    // What transformers computes for the model before its weights were rounded.
    let rounding = golden(include_str!("../../golden/minilm.json")).distance(&bundle);
    assert!((1e-3..0.1).contains(&rounding), "off by {rounding:.1e}");
    println!("largest relative distance: {distance:.1e}, from f32 weights {rounding:.1e}");
}

/// Families like RoBERTa's count positions from one behind the padding token, and graphs that are given
/// positions are given those.
#[test]
fn positions_start_where_the_family_starts() {
    let folder = tempfile::tempdir().unwrap();
    let exported = ForeignGraph::all();
    let exported = exported.iter().find(|graph| graph.family.name == "bert").unwrap();
    exported.write(folder.path()).unwrap();
    let mut model = exported.model().unwrap();
    let graph = model.graph.as_mut().unwrap();
    // A row for the padding token, which no text takes.
    let table = graph.initializer.iter_mut().find(|tensor| tensor.dims == [48, 32]).unwrap();
    let wrong = [7.0_f32; 32].iter().flat_map(|value| value.to_le_bytes());
    table.raw_data = wrong.chain(table.raw_data.to_vec()).collect();
    table.dims[0] = 49;
    let takes = |node: &&mut NodeProto| node.op_type == "Gather" && node.input[0] == table.name;
    graph.node.iter_mut().find(takes).unwrap().input[1] = "position_ids".to_owned();
    let axes = [Axis::Named("batch"), Axis::Named("tokens")];
    graph.input.push(ValueInfoProto::tensor("position_ids", INT64, &axes));
    let path = folder.path().join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    let config = folder.path().join("config.json");
    let mut keys: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    keys["model_type"] = "roberta".into();
    keys["max_position_embeddings"] = 49.into();
    fs::write(&config, keys.to_string()).unwrap();

    let bundle = import(&path, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();
    assert_eq!(bundle.info().max_tokens, 48);
    let mut backbone = setup::build(&bundle, &[0, 1, 2]);
    let distance = exported.family.distance(&bundle, &mut *backbone).unwrap();
    assert!(distance < TOLERANCE, "off by {distance:.1e}");
}

/// The node that makes `value`.
fn maker(graph: &GraphProto, value: &str) -> usize {
    graph.node.iter().position(|node| node.output.iter().any(|output| output == value)).unwrap()
}

/// The product that `node` takes, with other operators in between, or that takes what it makes.
fn product(graph: &GraphProto, mut node: usize, upwards: bool) -> usize {
    while graph.node[node].op_type != "MatMul" {
        node = match upwards {
            true => maker(graph, &graph.node[node].input[0]),
            false => {
                let made = &graph.node[node].output[0];
                let takes = |other: &NodeProto| other.input.iter().any(|input| input == made);
                graph.node.iter().rposition(takes).unwrap()
            }
        };
    }
    node
}

/// Lets the second factor of the product `node` go on behind the input `name` of the shape `dims`.
fn go_on(graph: &mut GraphProto, node: usize, name: &str, dims: &[Axis<'_>], axis: i64) {
    let longer = format!("{name}.longer");
    let now = std::mem::replace(&mut graph.node[node].input[1], longer.clone());
    let mut concat = NodeProto::new("Concat", &[name, &now], &[&longer]);
    concat.attribute.push(AttributeProto::int("axis", axis));
    graph.node.insert(node, concat);
    graph.input.push(ValueInfoProto::tensor(name, FLOAT, dims));
}

/// Exporters of decoders let them go on from the keys and values of earlier tokens; of which there are
/// none here.
#[test]
fn a_cache_of_earlier_tokens_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let exported = ForeignGraph::all();
    let exported = exported.iter().find(|graph| graph.family.name == "llama-biased").unwrap();
    exported.write(folder.path()).unwrap();
    let mut model = exported.model().unwrap();
    let graph = model.graph.as_mut().unwrap();
    let (batch, past, heads, width) =
        (Axis::Named("batch"), Axis::Named("past"), Axis::Fixed(6), Axis::Fixed(16));
    for layer in 0..2 {
        let of_layer = |graph: &GraphProto| {
            let softmax =
                graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "Softmax");
            softmax.map(|(at, _)| at).nth(layer).unwrap()
        };
        let values = product(graph, of_layer(graph), false);
        let dims = [batch, heads, past, width];
        go_on(graph, values, &format!("past_key_values.{layer}.value"), &dims, 2);
        let keys = product(graph, of_layer(graph), true);
        let dims = [batch, heads, width, past];
        go_on(graph, keys, &format!("past_key_values.{layer}.key"), &dims, 3);
    }
    let path = folder.path().join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    let bundle = import(&path, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();
    let mut backbone = setup::build(&bundle, &[0, 1, 2]);
    let distance = exported.family.distance(&bundle, &mut *backbone).unwrap();
    assert!(distance < TOLERANCE, "off by {distance:.1e}");
}
