use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_bundle::{Bundle, LAST_TOKENS, OWN_PREDICTION, OWN_STATE};
use prost::Message;

use super::*;

fn model(bundle: &Bundle) -> ModelProto {
    let bytes = std::fs::read(bundle.graph_path()).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap()
}

fn bert(tiny: &TinyBert) -> ModelProto {
    let folder = tempfile::tempdir().unwrap();
    model(&tiny.bundle(&folder.path().join("bundle")).unwrap())
}

fn decoder() -> ModelProto {
    let folder = tempfile::tempdir().unwrap();
    model(&TinyDecoder::default().bundle(&folder.path().join("bundle")).unwrap())
}

fn prediction(width: usize) -> OwnOutput {
    OwnOutput { name: OWN_PREDICTION, width }
}

fn tapped(mut model: ModelProto, taps: &[usize], own: Option<OwnOutput>, way: Way) -> ModelProto {
    insert_taps(&mut model, taps, own, way).unwrap();
    model
}

fn outputs(model: &ModelProto) -> Vec<&str> {
    let graph = model.graph.as_ref().unwrap();
    graph.output.iter().map(|output| &*output.name).collect()
}

fn weights(model: &ModelProto) -> impl Iterator<Item = &str> {
    model.graph.as_ref().unwrap().initializer.iter().map(|tensor| &*tensor.name)
}

#[test]
fn the_next_layer_takes_what_the_tap_puts_out() {
    let model = tapped(bert(&TinyBert::default()), &[0, 1, 3], None, Way::Operators);
    let graph = model.graph.unwrap();
    let position = |name: &str| graph.node.iter().position(|node| node.name == name).unwrap();
    for layer in [0, 1, 3] {
        let computed = format!("tap.{layer}.computed");
        let users = graph.node.iter().filter(|node| node.input.contains(&computed));
        let users: Vec<&str> = users.map(|node| &*node.name).collect();
        assert_eq!(users, [format!("Tap.{layer}")]);
        let tap = position(&format!("Tap.{layer}"));
        assert_eq!(graph.node[tap - 1].output, [computed]);
        assert!(graph.node[tap + 1..].iter().any(|n| n.input.contains(&format!("tap.{layer}"))));
    }
}

#[test]
fn what_lies_above_the_highest_tap_is_cut_off() {
    for way in [Way::Operators, Way::Outputs] {
        let model = tapped(bert(&TinyBert::default()), &[1], None, way);
        assert!(weights(&model).any(|name| name.starts_with("layers.0.")));
        assert!(!weights(&model).any(|name| name.starts_with("layers.1.")));
        assert_eq!(outputs(&model).len(), 1);
    }
}

#[test]
fn a_head_keeps_all_that_it_needs() {
    let model = tapped(bert(&TinyBert::with_head(5)), &[1], Some(prediction(5)), Way::Operators);
    assert!(weights(&model).any(|name| name.starts_with("layers.2.")));
    assert!(weights(&model).any(|name| name.starts_with("classifier.output.")));
    assert_eq!(outputs(&model), [OWN_PREDICTION]);
}

#[test]
fn without_taps_there_is_the_prediction() {
    for way in [Way::Operators, Way::Outputs] {
        let model = tapped(bert(&TinyBert::with_head(2)), &[], Some(prediction(2)), way);
        assert_eq!(outputs(&model), [OWN_PREDICTION]);
    }
}

#[test]
fn as_outputs_taps_come_in_their_order_before_the_prediction() {
    let model = tapped(bert(&TinyBert::with_head(2)), &[0, 3], Some(prediction(2)), Way::Outputs);
    assert_eq!(outputs(&model), ["tap.0", "tap.3", OWN_PREDICTION]);
    let graph = model.graph.as_ref().unwrap();
    assert!(graph.node.iter().all(|node| node.op_type != OPERATOR), "nothing cuts the graph");
}

#[test]
fn only_what_is_needed_has_to_be_given() {
    let asked = |own: Option<OwnOutput>| {
        let model = tapped(decoder(), &[1], own, Way::Operators);
        inputs(&model).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(asked(None), ["input_ids"]);
    let own = OwnOutput { name: OWN_STATE, width: TinyDecoder::default().hidden };
    assert_eq!(asked(Some(own)), ["input_ids", LAST_TOKENS]);
    let bert = tapped(bert(&TinyBert::default()), &[0], None, Way::Operators);
    assert_eq!(inputs(&bert).collect::<Vec<_>>(), ["input_ids", "token_type_ids"]);
}

#[test]
fn what_a_branch_takes_from_outside_is_kept() {
    let node = |op_type: &str, input: &str, output: &str| NodeProto {
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        op_type: op_type.to_owned(),
        ..NodeProto::default()
    };
    let branch =
        GraphProto { node: vec![node("Neg", "outside", "inside")], ..GraphProto::default() };
    let mut choice = node("If", "asked", "tap.0");
    choice
        .attribute
        .push(AttributeProto { g: Some(Box::new(branch)), ..AttributeProto::default() });
    let nodes = vec![node("Abs", "x", "outside"), node("Abs", "x", "nobody's"), choice];
    let graph = GraphProto { node: nodes, ..GraphProto::default() };
    let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
    let model = tapped(model, &[0], None, Way::Outputs);
    let made = model.graph.unwrap().node.into_iter().flat_map(|node| node.output);
    assert_eq!(made.collect::<Vec<_>>(), ["outside", "tap.0"]);
}

#[test]
fn a_layer_or_head_that_is_not_there_is_an_error() {
    let mut empty = ModelProto { graph: Some(GraphProto::default()), ..ModelProto::default() };
    let error = insert_taps(&mut empty, &[4], None, Way::Operators).unwrap_err();
    assert_eq!(error, "its graph has no value tap.4");
    for tiny in [TinyBert::default(), TinyBert::with_head(3)] {
        let own = Some(prediction(2));
        let error = insert_taps(&mut bert(&tiny), &[1], own, Way::Operators).unwrap_err();
        assert!(error.contains("no output own_prediction [batch, 2]"), "{error}");
    }
}
