//! Puts taps into a bundle's graph.

use std::collections::HashSet;

use mobillm_bundle::onnx::{
    AttributeProto, Axis, GraphProto, INT64, ModelProto, NodeProto, OperatorSetIdProto,
    ValueInfoProto,
};

use crate::tap::{DOMAIN, LAYER, OPERATOR};

/// The graph's only output: the shape of the highest tap. A hidden state as output would have to
/// be copied out of the graph's memory.
const OUTPUT: &str = "tapped.shape";

/// Puts a tap behind each layer in `taps` and cuts off what no tap needs.
///
/// Fails with what is wrong if the graph lacks one of the layers.
pub(crate) fn insert_taps(model: &mut ModelProto, taps: &[usize]) -> Result<(), String> {
    let graph = model.graph.as_mut().ok_or("it has no graph")?;
    for &layer in taps {
        insert_tap(graph, layer)?;
    }
    let highest = taps.last().ok_or("no layer is tapped")?;
    end_with(graph, &format!("tap.{highest}"));
    let domain = DOMAIN.to_owned();
    model.opset_import.push(OperatorSetIdProto { domain, version: 1 });
    Ok(())
}

/// Whoever took the value `tap.<layer>` gets it from the operator instead.
fn insert_tap(graph: &mut GraphProto, layer: usize) -> Result<(), String> {
    let name = format!("tap.{layer}");
    let computed = format!("{name}.computed");
    let at = graph.node.iter().position(|node| node.output.contains(&name));
    let at = at.ok_or_else(|| format!("its graph has no value {name}"))?;
    for output in &mut graph.node[at].output {
        if *output == name {
            output.clone_from(&computed);
        }
    }
    let tap = NodeProto {
        input: vec![computed],
        output: vec![name],
        name: format!("{OPERATOR}.{layer}"),
        op_type: OPERATOR.to_owned(),
        attribute: vec![AttributeProto::int(LAYER, layer as i64)],
        domain: DOMAIN.to_owned(),
    };
    graph.node.insert(at + 1, tap);
    Ok(())
}

/// Makes the shape of `last` the only output and drops what it does not depend on.
fn end_with(graph: &mut GraphProto, last: &str) {
    graph.node.push(NodeProto {
        input: vec![last.to_owned()],
        output: vec![OUTPUT.to_owned()],
        name: OUTPUT.to_owned(),
        op_type: "Shape".to_owned(),
        ..NodeProto::default()
    });
    graph.output = vec![ValueInfoProto::tensor(OUTPUT, INT64, &[Axis::Fixed(3)])];

    let mut needed = HashSet::from([OUTPUT.to_owned()]);
    let mut kept = Vec::new();
    // Nodes are in topological order: from the end, whoever needs a node comes before it.
    for node in graph.node.drain(..).rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
}

#[cfg(test)]
mod tests {
    use mobillm_bundle::fixture::TinyBert;
    use prost::Message;

    use super::*;

    fn tapped(taps: &[usize]) -> GraphProto {
        let folder = tempfile::tempdir().unwrap();
        let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
        let bytes = std::fs::read(bundle.graph_path()).unwrap();
        let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
        insert_taps(&mut model, taps).unwrap();
        model.graph.unwrap()
    }

    #[test]
    fn the_next_layer_takes_what_the_tap_puts_out() {
        let graph = tapped(&[0, 1, 3]);
        let position = |name: &str| graph.node.iter().position(|node| node.name == name).unwrap();
        for layer in [0, 1, 3] {
            let computed = format!("tap.{layer}.computed");
            let users = graph.node.iter().filter(|node| node.input.contains(&computed));
            let users: Vec<&str> = users.map(|node| &*node.name).collect();
            assert_eq!(users, [format!("Tap.{layer}")]);
            let tap = position(&format!("Tap.{layer}"));
            assert_eq!(graph.node[tap - 1].output, [computed]);
            assert!(
                graph.node[tap + 1..].iter().any(|n| n.input.contains(&format!("tap.{layer}")))
            );
        }
    }

    #[test]
    fn what_lies_above_the_highest_tap_is_cut_off() {
        let graph = tapped(&[1]);
        let names: Vec<&str> = graph.initializer.iter().map(|tensor| &*tensor.name).collect();
        assert!(names.iter().any(|name| name.starts_with("encoder.layer.0.")));
        assert!(!names.iter().any(|name| name.starts_with("encoder.layer.1.")));
        assert_eq!(graph.node.iter().filter(|node| node.op_type == "Attention").count(), 1);
        assert_eq!(graph.output.len(), 1);
    }

    #[test]
    fn a_layer_that_is_not_there_is_an_error() {
        let mut model = ModelProto { graph: Some(GraphProto::default()), ..ModelProto::default() };
        assert_eq!(insert_taps(&mut model, &[4]), Err("its graph has no value tap.4".to_owned()));
    }
}
