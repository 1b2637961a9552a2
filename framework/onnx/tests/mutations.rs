//! Damaged files and arbitrary graphs: the short run of what `fuzz/` does for hours.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::fs;
use std::path::Path;

use mobillm_onnx::messages::{FLOAT, GraphProto, ModelProto, NodeProto, TensorProto};
use mobillm_onnx::{inputs, taps};
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;

mod common;

/// The graphs of exporters that the importer is tested with.
fn exported() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundle/golden/foreign");
    let files = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Takes `bytes` as a model, as far as they are one: it is read whole, and made a bundle's.
fn read_all(bytes: &[u8]) {
    let Ok(mut model) = ModelProto::read(bytes.to_vec().into()) else { return };
    let again = ModelProto::read(model.encode_to_vec().into()).unwrap();
    // Not a number is unequal to itself.
    assert_eq!(format!("{model:?}"), format!("{again:?}"));
    if let Some(graph) = &mut model.graph {
        mobillm_onnx::hoist_constants(graph);
        rewrite_if_possible(graph);
    }
}

/// If `graph` has taps and known inputs: afterwards its values have the names of a bundle's.
fn rewrite_if_possible(graph: &mut GraphProto) {
    let (Ok(points), Ok(given)) = (taps(graph, &[]), inputs(graph)) else { return };
    mobillm_onnx::rewrite(graph, &points, &given, common::HIDDEN, None);
    let names: Vec<String> = (0..points.len()).map(|layer| format!("tap.{layer}")).collect();
    assert_eq!(taps(graph, &names).unwrap().len(), points.len());
    assert_eq!(graph.output[0].name, names[points.len() - 1]);
}

#[test]
fn exported_graphs_are_read_whole() {
    let files = exported();
    assert!(files.len() >= 5);
    files.iter().for_each(|bytes| read_all(bytes));
}

/// Operators that the search looks at, and some that it does not.
const OPERATORS: [&str; 10] = [
    "Add",
    "Add",
    "Add",
    "MatMul",
    "Attention",
    "LayerNormalization",
    "SkipLayerNormalization",
    "Mul",
    "Gather",
    "Shape",
];

/// A graph in which every node takes three values made before it.
fn graph(nodes: &[(usize, [Index; 3])]) -> GraphProto {
    let mut graph = common::Builder::new().graph;
    let weight = |name: &str| TensorProto {
        name: name.to_owned(),
        dims: vec![common::HIDDEN as i64],
        data_type: FLOAT,
        ..TensorProto::default()
    };
    graph.initializer = vec![weight("w"), weight("x")];
    let mut values: Vec<String> =
        ["input_ids", "attention_mask", "w", "x"].map(str::to_owned).to_vec();
    for (operator, from) in nodes {
        let taken = from.map(|index| values[index.index(values.len())].clone());
        let count = if *operator < 3 { 2 } else { 3 };
        let taken: Vec<&str> = taken.iter().take(count).map(|name| &**name).collect();
        let name = format!("v{}", values.len());
        graph.node.push(NodeProto::new(OPERATORS[*operator], &taken, &[&name]));
        values.push(name);
    }
    graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_files_are_refused_or_read_whole(
        file in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        length in proptest::option::of(any::<Index>()),
    ) {
        let mut files = exported();
        let mut bytes = files.swap_remove(file.index(files.len()));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        read_all(&bytes);
    }

    #[test]
    fn arbitrary_graphs_are_refused_or_rewritten(
        nodes in proptest::collection::vec((0..OPERATORS.len(), any::<[Index; 3]>()), 0..40),
    ) {
        rewrite_if_possible(&mut graph(&nodes));
    }
}
