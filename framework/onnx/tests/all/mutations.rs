//! Damaged files and arbitrary graphs: the short run of what `fuzz/` does for hours.

use std::fs;
use std::path::Path;

use mobillm_onnx::fixture::{read_all, rewrite_if_possible};
use mobillm_onnx::messages::{FLOAT, GraphProto, NodeProto, TensorProto};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::builder;

/// The graphs of exporters that the importer is tested with.
fn exported() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundle/golden/foreign");
    let files = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn exported_graphs_are_read_whole() {
    let files = exported();
    assert!(files.len() >= 5);
    files.iter().for_each(|bytes| read_all(bytes, builder::HIDDEN).unwrap());
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
    let mut graph = builder::Builder::new().graph;
    let weight = |name: &str| TensorProto {
        name: name.to_owned(),
        dims: vec![builder::HIDDEN as i64],
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
        let _ = read_all(&bytes, builder::HIDDEN);
    }

    #[test]
    fn arbitrary_graphs_are_refused_or_rewritten(
        nodes in proptest::collection::vec((0..OPERATORS.len(), any::<[Index; 3]>()), 0..40),
    ) {
        rewrite_if_possible(&mut graph(&nodes), builder::HIDDEN);
    }
}
