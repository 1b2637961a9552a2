//! Puts taps into a bundle's graph.

use mobillm_bundle::onnx::{
    AttributeProto, Axis, FLOAT, GraphProto, INT64, ModelProto, NodeProto, OperatorSetIdProto,
    ValueInfoProto,
};

use crate::tap::{DOMAIN, LAYER, OPERATOR};

/// The only output of a graph that has no other.
const SHAPE: &str = "tapped.shape";

/// How the hidden states of the tapped layers get out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By an operator between the layers, while the graph runs.
    Operators,
    /// As outputs of the graph, when it has run.
    Outputs,
}

/// The output that the model's own prediction is, or is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnOutput {
    /// Its name.
    pub name: &'static str,
    /// It is `[batch, width]`.
    pub width: usize,
}

/// Lets the hidden states of the layers `taps`, ascending, get out by `way`, and cuts off what neither
/// they nor the `own` output need. Of what the graph takes, that stays which is needed.
///
/// Fails with what is wrong if the graph lacks one of the layers or the output.
pub(crate) fn insert_taps(
    model: &mut ModelProto,
    taps: &[usize],
    own: Option<OwnOutput>,
    way: Way,
) -> Result<(), String> {
    let graph = model.graph.as_mut().ok_or("it has no graph")?;
    for &layer in taps {
        let at = maker(graph, &value(layer))?;
        if way == Way::Operators {
            insert_tap(graph, layer, at);
        }
    }
    let own = own.map(|own| own_output(graph, own)).transpose()?;
    graph.output = match (way, own, taps.last()) {
        (Way::Outputs, own, _) => taps.iter().map(|&layer| hidden(layer)).chain(own).collect(),
        // It takes the output of the last layer, which takes that of every tap.
        (Way::Operators, Some(own), _) => vec![own],
        (Way::Operators, None, highest) => {
            highest.map(|&highest| shape_of(graph, &value(highest))).into_iter().collect()
        }
    };
    graph.prune();
    if !model.opset_import.iter().any(|set| set.domain == DOMAIN) {
        let domain = DOMAIN.to_owned();
        model.opset_import.push(OperatorSetIdProto { domain, version: 1 });
    }
    Ok(())
}

/// The name of the hidden state behind `layer`.
pub(crate) fn value(layer: usize) -> String {
    format!("tap.{layer}")
}

/// What a run of the graph has to be given.
pub(crate) fn inputs(model: &ModelProto) -> impl Iterator<Item = &str> {
    let graph = model.graph.iter();
    // Old graphs list their weights among the inputs.
    graph.flat_map(|graph| {
        let given = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
        graph.input.iter().map(|input| &*input.name).filter(move |name| !given(name))
    })
}

/// Where the node that makes `value` is.
fn maker(graph: &GraphProto, value: &str) -> Result<usize, String> {
    let at = graph.node.iter().position(|node| node.output.iter().any(|output| output == value));
    at.ok_or_else(|| format!("its graph has no value {value}"))
}

/// Whoever took the value `tap.<layer>`, which node `at` makes, gets it from the operator instead.
fn insert_tap(graph: &mut GraphProto, layer: usize, at: usize) {
    let name = value(layer);
    let computed = format!("{name}.computed");
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
        ..NodeProto::default()
    };
    graph.node.insert(at + 1, tap);
}

/// The output `own`, as the graph has it.
fn own_output(graph: &GraphProto, own: OwnOutput) -> Result<ValueInfoProto, String> {
    let OwnOutput { name, width } = own;
    let axes = [Axis::Named("batch"), Axis::Fixed(width)];
    let own = ValueInfoProto::tensor(name, FLOAT, &axes);
    if graph.output.contains(&own) {
        return Ok(own);
    }
    Err(format!(
        "its graph has no output {name} [batch, {width}], but the manifest says that the model has a \
         head; import the model again"
    ))
}

/// The hidden state behind `layer`, as an output.
fn hidden(layer: usize) -> ValueInfoProto {
    let axes = ["batch", "tokens", "hidden"].map(Axis::Named);
    ValueInfoProto::tensor(&value(layer), FLOAT, &axes)
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

#[cfg(test)]
mod tests;
