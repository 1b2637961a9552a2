//! Puts taps into a bundle's graph.

use std::collections::HashSet;

use mobillm_bundle::OWN_PREDICTION;
use mobillm_bundle::onnx::{
    AttributeProto, Axis, FLOAT, GraphProto, INT64, ModelProto, NodeProto, OperatorSetIdProto,
    ValueInfoProto,
};

use crate::tap::{DOMAIN, LAYER, OPERATOR};

/// The only output of a graph without a head.
const SHAPE: &str = "tapped.shape";

/// Puts a tap behind each layer in `taps` and cuts off what neither a tap needs nor the model's own
/// prediction, if it has one: of `own_outputs` outputs.
///
/// Fails with what is wrong if the graph lacks one of the layers or the prediction.
pub(crate) fn insert_taps(
    model: &mut ModelProto,
    taps: &[usize],
    own_outputs: Option<usize>,
) -> Result<(), String> {
    let graph = model.graph.as_mut().ok_or("it has no graph")?;
    for &layer in taps {
        insert_tap(graph, layer)?;
    }
    let highest = taps.last().ok_or("no layer is tapped")?;
    let output = match own_outputs {
        Some(outputs) => own_prediction(graph, outputs)?,
        None => shape_of(graph, &format!("tap.{highest}")),
    };
    end_with(graph, output);
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

/// The output with the model's own prediction. It takes the output of the last layer, which takes
/// that of every tap.
fn own_prediction(graph: &GraphProto, outputs: usize) -> Result<ValueInfoProto, String> {
    let axes = [Axis::Named("batch"), Axis::Fixed(outputs)];
    let own = ValueInfoProto::tensor(OWN_PREDICTION, FLOAT, &axes);
    if graph.output.contains(&own) {
        return Ok(own);
    }
    Err(format!(
        "its graph has no output {OWN_PREDICTION} [batch, {outputs}], but the manifest says that the \
         model has a head; import the model again"
    ))
}

/// The shape of `last` as an output. A hidden state as output would have to be copied out of the
/// graph's memory.
fn shape_of(graph: &mut GraphProto, last: &str) -> ValueInfoProto {
    graph.node.push(NodeProto {
        input: vec![last.to_owned()],
        output: vec![SHAPE.to_owned()],
        name: SHAPE.to_owned(),
        op_type: "Shape".to_owned(),
        ..NodeProto::default()
    });
    ValueInfoProto::tensor(SHAPE, INT64, &[Axis::Fixed(3)])
}

/// Makes `output` the only output and drops what it does not depend on.
fn end_with(graph: &mut GraphProto, output: ValueInfoProto) {
    let mut needed = HashSet::from([output.name.clone()]);
    graph.output = vec![output];
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

    fn model(tiny: &TinyBert) -> ModelProto {
        let folder = tempfile::tempdir().unwrap();
        let bundle = tiny.bundle(&folder.path().join("bundle")).unwrap();
        let bytes = std::fs::read(bundle.graph_path()).unwrap();
        ModelProto::decode(bytes.as_slice()).unwrap()
    }

    fn tapped(tiny: &TinyBert, taps: &[usize]) -> GraphProto {
        let mut model = model(tiny);
        insert_taps(&mut model, taps, tiny.head).unwrap();
        model.graph.unwrap()
    }

    #[test]
    fn the_next_layer_takes_what_the_tap_puts_out() {
        let graph = tapped(&TinyBert::default(), &[0, 1, 3]);
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
        let graph = tapped(&TinyBert::default(), &[1]);
        let names: Vec<&str> = graph.initializer.iter().map(|tensor| &*tensor.name).collect();
        assert!(names.iter().any(|name| name.starts_with("encoder.layer.0.")));
        assert!(!names.iter().any(|name| name.starts_with("encoder.layer.1.")));
        assert_eq!(graph.node.iter().filter(|node| node.op_type == "Attention").count(), 1);
        assert_eq!(graph.output.len(), 1);
    }

    #[test]
    fn a_head_keeps_all_that_it_needs() {
        let graph = tapped(&TinyBert::with_head(5), &[1]);
        let attentions = graph.node.iter().filter(|node| node.op_type == "Attention").count();
        assert_eq!(attentions, 3, "the head needs the layers above the highest tap");
        let kept = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
        assert!(kept("bert.pooler.dense.weight") && kept("classifier.bias"));
        let outputs: Vec<&str> = graph.output.iter().map(|output| &*output.name).collect();
        assert_eq!(outputs, [OWN_PREDICTION]);
        assert_eq!(graph.node.last().unwrap().output, outputs);
    }

    #[test]
    fn a_layer_or_head_that_is_not_there_is_an_error() {
        let mut empty = ModelProto { graph: Some(GraphProto::default()), ..ModelProto::default() };
        let error = insert_taps(&mut empty, &[4], None).unwrap_err();
        assert_eq!(error, "its graph has no value tap.4");
        for (tiny, claimed) in [(TinyBert::default(), 2), (TinyBert::with_head(3), 2)] {
            let error = insert_taps(&mut model(&tiny), &[1], Some(claimed)).unwrap_err();
            assert!(error.contains("no output own_prediction [batch, 2]"), "{error}");
        }
    }
}
