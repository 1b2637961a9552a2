//! A foreign graph gets the names of a bundle's, and keeps what it computes.

use mobillm_onnx::messages::{
    AttributeProto, AttributeType, Axis, FLOAT, GraphProto, INT32, INT64, NodeProto, ValueInfoProto,
};
use mobillm_onnx::{InputError, Own, Role, TapPoint, check_opset, inputs, rewrite, taps};

use crate::builder::{Builder, HIDDEN};

/// `TensorProto.DataType.STRING`.
const STRING: i32 = 8;

fn maker<'a>(graph: &'a GraphProto, value: &str) -> &'a NodeProto {
    graph.node.iter().find(|node| node.output.iter().any(|output| output == value)).unwrap()
}

/// Embedding, attention, feed-forward part, and an output of each sample.
fn model() -> Builder {
    let mut builder = Builder::new();
    let stream = builder.embedding();
    let normed = builder.norm(&stream);
    let branch = builder.attention(&normed);
    let middle = builder.node("Add", &[&stream, &branch]);
    let normed = builder.norm(&middle);
    let branch = builder.feed_forward(&normed);
    let last = builder.node("Add", &[&middle, &branch]);
    builder.output(&last);
    let normed = builder.norm(&last);
    let logits = builder.linear(&normed);
    builder.graph.node.last_mut().unwrap().output[0] = "logits".to_owned();
    assert_ne!(logits, "logits");
    let axes = [Axis::Named("batch"), Axis::Fixed(3)];
    builder.graph.output.push(ValueInfoProto::tensor("logits", FLOAT, &axes));
    builder
}

fn rewritten(mut graph: GraphProto, own: bool) -> GraphProto {
    let (taps, inputs) = (taps(&graph, &[]).unwrap(), inputs(&graph).unwrap());
    let own = own.then_some(Own { from: "logits", to: "own_prediction", outputs: 3 });
    rewrite(&mut graph, &taps, &inputs, HIDDEN, own);
    graph
}

#[test]
fn taps_inputs_and_outputs_are_those_of_a_bundle() {
    let graph = rewritten(model().graph, true);
    let names = |values: &[ValueInfoProto]| -> Vec<String> {
        values.iter().map(|value| value.name.clone()).collect()
    };
    assert_eq!(names(&graph.input), ["input_ids", "attention_mask"]);
    assert_eq!(names(&graph.output), ["tap.1", "own_prediction"]);
    assert_eq!(graph.output[0].dims().unwrap(), [None, None, Some(HIDDEN as i64)]);
    assert_eq!(graph.output[1].dims().unwrap(), [None, Some(3)]);
    assert_eq!(
        (&*maker(&graph, "tap.0").op_type, &*maker(&graph, "tap.1").op_type),
        ("Add", "Add")
    );
    assert!(maker(&graph, "tap.1").input.iter().all(|value| value != "tap.0"));
    // Rewritten once more, nothing changes: its own names are not in its way.
    assert_eq!(rewritten(graph.clone(), false).node.len(), graph.node.len() - 2);
}

#[test]
fn what_no_output_needs_is_dropped() {
    let (with, without) = (rewritten(model().graph, true), rewritten(model().graph, false));
    assert_eq!(with.node.len(), without.node.len() + 2);
    assert_eq!(with.initializer.len(), without.initializer.len() + 3);
}

#[test]
fn values_with_a_bundles_names_make_way() {
    let mut builder = model();
    let names = ["tap.1", "own_prediction", "token_type_ids", "mobillm.tap.1"];
    for (node, name) in names.iter().enumerate() {
        let old =
            std::mem::replace(&mut builder.graph.node[4 + node].output[0], (*name).to_owned());
        for node in &mut builder.graph.node {
            for input in node.input.iter_mut().filter(|input| **input == old) {
                *input = (*name).to_owned();
            }
        }
    }
    let (plain, graph) = (rewritten(model().graph, true), rewritten(builder.graph, true));
    let operators = |graph: &GraphProto| -> Vec<String> {
        graph.node.iter().map(|node| node.op_type.clone()).collect()
    };
    assert_eq!(operators(&graph), operators(&plain));
    assert!(taps(&graph, &["tap.0".to_owned(), "tap.1".to_owned()]).is_ok());
}

#[test]
fn positions_are_counted_and_other_types_are_cast() {
    let mut builder = model();
    let axes = [Axis::Named("batch"), Axis::Named("tokens")];
    builder.graph.input[0] = ValueInfoProto::tensor("input_ids:0", INT32, &axes);
    builder.graph.input[1] = ValueInfoProto::tensor("mask", INT64, &axes);
    let positions = [Axis::Fixed(1), Axis::Named("tokens")];
    builder.graph.input.push(ValueInfoProto::tensor("position_ids", INT32, &positions));
    for node in &mut builder.graph.node {
        for input in &mut node.input {
            match &**input {
                "input_ids" => *input = "input_ids:0".to_owned(),
                "attention_mask" => *input = "mask".to_owned(),
                _ => {}
            }
        }
    }
    builder.graph.node[2].input[1] = "position_ids".to_owned();
    let graph = rewritten(builder.graph, false);
    assert!(graph.input.iter().all(|input| input.elem_type() == Some(INT64)));
    let [tokens, positions] =
        [maker(&graph, "tap.0").input[0].clone(), maker(&graph, "tap.0").input[1].clone()];
    let ids = maker(&graph, &maker(&graph, &tokens).input[1]);
    assert_eq!((&*ids.op_type, &*ids.input[0]), ("Cast", "input_ids"));
    let cast = maker(&graph, &maker(&graph, &positions).input[1]);
    let rows = maker(&graph, &cast.input[0]);
    assert_eq!((&*cast.op_type, &*rows.op_type), ("Cast", "Expand"));
    assert_eq!(maker(&graph, &rows.input[0]).op_type, "Range");
}

/// RoBERTa's first token stands at 2, behind the positions of padding and of nothing.
#[test]
fn positions_start_where_they_are_said_to() {
    let mut builder = model();
    let axes = [Axis::Named("batch"), Axis::Named("tokens")];
    builder.graph.input.push(ValueInfoProto::tensor("position_ids", INT64, &axes));
    builder.graph.node[2].input[1] = "position_ids".to_owned();
    let (points, mut given) = (taps(&builder.graph, &[]).unwrap(), inputs(&builder.graph).unwrap());
    assert_eq!(given[2].first, 0);
    given[2].first = 2;
    rewrite(&mut builder.graph, &points, &given, HIDDEN, None);
    let graph = builder.graph;
    let range = graph.node.iter().find(|node| node.op_type == "Range").unwrap();
    let start = graph.initializer.iter().find(|tensor| tensor.name == range.input[0]).unwrap();
    assert_eq!(&*start.raw_data, 2_i64.to_le_bytes());
    // As many as there are tokens.
    let end = maker(&graph, &range.input[1]);
    assert_eq!((&*end.op_type, &end.input[0]), ("Add", &start.name));
    assert_eq!(maker(&graph, &end.input[1]).op_type, "Gather");
}

#[test]
fn operators_that_the_graph_does_not_speak_are_refused() {
    let axes = [Axis::Named("batch"), Axis::Named("tokens")];
    let cache = [Axis::Named("batch"), Axis::Fixed(2), Axis::Named("past"), Axis::Fixed(4)];
    for (input, since) in [
        (ValueInfoProto::tensor("position_ids", INT64, &axes), 11),
        (ValueInfoProto::tensor("past_key_values.0.key", FLOAT, &cache), 9),
        (ValueInfoProto::tensor("token_type_ids", INT32, &axes), 6),
        (ValueInfoProto::tensor("token_type_ids", INT64, &axes), 0),
    ] {
        let name = input.name.clone();
        let mut graph = model().graph;
        graph.input.push(input);
        let given = inputs(&graph).unwrap();
        assert_eq!(check_opset(&given, since), Ok(()));
        if since > 0 {
            let error = check_opset(&given, since - 1).unwrap_err().to_string();
            for word in [name, format!("version {}", since - 1), format!("`opset_version` {since}")]
            {
                assert!(error.contains(&word), "{word:?} is not in: {error}");
            }
        }
    }
}

/// What a branch takes from outside is renamed in it, and kept for it.
#[test]
fn branches_take_values_from_outside() {
    let mut builder = model();
    let points = taps(&builder.graph, &[]).unwrap();
    let TapPoint { node, output } = points[0];
    let taken = builder.graph.node[node].output[output].clone();
    let weight = builder.weight(&[HIDDEN]);
    let then = GraphProto {
        node: vec![NodeProto::new("Mul", &[&taken, &weight], &["within"])],
        output: vec![ValueInfoProto::tensor("within", FLOAT, &[])],
        ..GraphProto::default()
    };
    let attribute = AttributeProto {
        name: "then_branch".to_owned(),
        g: Some(Box::new(then)),
        r#type: AttributeType::Graph.into(),
        ..AttributeProto::default()
    };
    let mut branch = NodeProto::new("If", &["attention_mask"], &["chosen"]);
    branch.attribute.push(attribute);
    let last = builder.graph.node.len() - 1;
    builder.graph.node[last].input[0] = "chosen".to_owned();
    builder.graph.node.insert(last, branch);
    let graph = rewritten(builder.graph, true);
    let within = maker(&graph, "chosen").subgraphs().next().unwrap();
    assert_eq!(within.node[0].input, ["tap.0", &weight]);
    assert!(graph.initializer.iter().any(|tensor| tensor.name == weight));
}

#[test]
fn inputs_that_nobody_knows_are_refused() {
    let refused = |change: fn(&mut Vec<ValueInfoProto>)| {
        let mut graph = model().graph;
        change(&mut graph.input);
        inputs(&graph).unwrap_err()
    };
    let error = refused(|inputs| inputs.push(ValueInfoProto::tensor("pixels", FLOAT, &[])));
    assert_eq!(error, InputError::Unknown { name: "pixels".to_owned() });
    let error =
        refused(|inputs| inputs.push(ValueInfoProto::tensor("past_key_values.0.key", FLOAT, &[])));
    assert!(error.to_string().contains("use_cache=False"), "{error}");
    let error = refused(|inputs| {
        inputs[0] = ValueInfoProto::tensor("ids", INT64, &[Axis::Fixed(1), Axis::Fixed(128)])
    });
    assert!(error.to_string().contains("[1, 128]"), "{error}");
    let error = refused(|inputs| inputs[1].r#type = None);
    assert_eq!(error, InputError::Type { name: "attention_mask".to_owned(), elem_type: 0 });
    let error = refused(|inputs| {
        let axes = [Axis::Named("batch"), Axis::Named("tokens")];
        inputs[0] = ValueInfoProto::tensor("ids", STRING, &axes);
    });
    assert_eq!(error, InputError::Type { name: "ids".to_owned(), elem_type: STRING });
    let error = refused(|inputs| drop(inputs.remove(0)));
    assert_eq!(error, InputError::Count { role: Role::Ids, got: 0 });
    let error = refused(|inputs| {
        inputs.push(ValueInfoProto { name: "tokens".to_owned(), ..inputs[0].clone() })
    });
    assert_eq!(error, InputError::Count { role: Role::Ids, got: 2 });
}
