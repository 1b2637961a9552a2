//! The residual stream is found wherever exporters put it, and where it is not certain, they are asked.

use mobillm_onnx::messages::{FLOAT16, GraphProto, NodeProto, ValueInfoProto};
use mobillm_onnx::{TapError, check_layers, dimensions, taps};

use crate::builder;
use crate::builder::Builder;

/// Names of the taps that are found.
fn found(graph: &GraphProto) -> Vec<String> {
    let points = taps(graph, &[]).unwrap();
    let name = |node: usize, output: usize| graph.node[node].output.get(output).cloned();
    points.iter().map(|tap| name(tap.node, tap.output).unwrap_or_default()).collect()
}

#[test]
fn with_norms_before_the_sums_are_the_taps() {
    for norm in [Builder::norm, Builder::decomposed_norm] {
        let mut builder = Builder::new();
        let mut stream = builder.embedding();
        let mut expected = vec![stream.clone()];
        for _ in 0..3 {
            let normed = norm(&mut builder, &stream);
            let branch = builder.attention(&normed);
            stream = builder.node("Add", &[&stream, &branch]);
            let normed = norm(&mut builder, &stream);
            let branch = builder.feed_forward(&normed);
            stream = builder.node("Add", &[&branch, &stream]);
            expected.push(stream.clone());
        }
        let last = norm(&mut builder, &stream);
        builder.output(&last);
        assert_eq!(found(&builder.graph), expected);
    }
}

#[test]
fn with_norms_behind_they_are_the_taps() {
    for norm in [Builder::norm, Builder::decomposed_norm] {
        for layers in [1, 2, 5] {
            let mut builder = Builder::new();
            let sum = builder.embedding();
            let mut stream = norm(&mut builder, &sum);
            let mut expected = vec![stream.clone()];
            for _ in 0..layers {
                let branch = builder.attention(&stream);
                let sum = builder.node("Add", &[&branch, &stream]);
                stream = norm(&mut builder, &sum);
                let branch = builder.feed_forward(&stream);
                let sum = builder.node("Add", &[&branch, &stream]);
                stream = norm(&mut builder, &sum);
                expected.push(stream.clone());
            }
            // A head that norms once more is none of the model's layers.
            let head = builder.linear(&stream);
            let head = norm(&mut builder, &head);
            builder.output(&head);
            assert_eq!(found(&builder.graph), expected);
        }
    }
}

/// GPT-NeoX, GPT-J and Phi add attention and feed-forward part first; Falcon adds them one by one.
#[test]
fn attention_and_feed_forward_part_may_stand_side_by_side() {
    for one_by_one in [false, true] {
        let mut builder = Builder::new();
        let mut stream = builder.embedding();
        let mut expected = vec![stream.clone()];
        for _ in 0..3 {
            let normed = builder.norm(&stream);
            let (attended, fed) = (builder.attention(&normed), builder.feed_forward(&normed));
            stream = if one_by_one {
                let sum = builder.node("Add", &[&attended, &stream]);
                builder.node("Add", &[&fed, &sum])
            } else {
                let sum = builder.node("Add", &[&attended, &fed]);
                builder.node("Add", &[&sum, &stream])
            };
            expected.push(stream.clone());
        }
        builder.output(&stream);
        assert_eq!(found(&builder.graph), expected);
    }
}

/// A node of ONNX Runtime's that adds, and norms the sum.
fn fused(builder: &mut Builder, sum: bool, a: &str, b: &str) -> (String, String) {
    let weight = builder.weight(&[builder::HIDDEN]);
    let at = builder.graph.node.len();
    let (normed, added) = (format!("normed.{at}"), format!("sum.{at}"));
    let outputs = [&*normed, "", "", &added];
    let outputs = if sum { &outputs[..] } else { &outputs[..1] };
    builder.graph.node.push(NodeProto {
        domain: "com.microsoft".to_owned(),
        ..NodeProto::new("SkipSimplifiedLayerNormalization", &[a, b, &weight], outputs)
    });
    (normed, added)
}

#[test]
fn sums_and_norms_may_be_fused() {
    // Norms before: the sum goes on, and the last one has only its norm taken.
    let mut builder = Builder::new();
    let mut stream = builder.embedding();
    let mut normed = builder.norm(&stream);
    let mut expected = vec![stream.clone()];
    for layer in 0..2 {
        let branch = builder.attention(&normed);
        (normed, stream) = fused(&mut builder, true, &stream, &branch);
        let branch = builder.feed_forward(&normed);
        (normed, stream) = fused(&mut builder, layer == 0, &branch, &stream);
        expected.push(if layer == 0 { stream.clone() } else { String::new() });
    }
    builder.output(&normed);
    assert_eq!(found(&builder.graph), expected);
    let last = taps(&builder.graph, &[]).unwrap()[2];
    assert_eq!((builder.graph.node[last.node].output.len(), last.output), (1, 3));

    // Norms behind: the norm goes on.
    let mut builder = Builder::new();
    let sum = builder.embedding();
    let mut stream = builder.norm(&sum);
    let mut expected = vec![stream.clone()];
    for _ in 0..2 {
        let branch = builder.attention(&stream);
        stream = fused(&mut builder, false, &stream, &branch).0;
        let branch = builder.feed_forward(&stream);
        stream = fused(&mut builder, false, &stream, &branch).0;
        expected.push(stream.clone());
    }
    builder.output(&stream);
    assert_eq!(found(&builder.graph), expected);
}

/// Attention as one operator of ONNX Runtime's.
#[test]
fn attention_may_be_one_node() {
    let mut builder = Builder::new();
    let mut stream = builder.embedding();
    let mut expected = vec![stream.clone()];
    for op_type in ["GroupQueryAttention", "MultiHeadAttention", "Attention"] {
        let normed = builder.norm(&stream);
        let branch = builder.node(op_type, &[&normed, "attention_mask"]);
        stream = builder.node("Add", &[&stream, &branch]);
        let normed = builder.norm(&stream);
        let branch = builder.feed_forward(&normed);
        stream = builder.node("Add", &[&stream, &branch]);
        expected.push(stream.clone());
    }
    builder.output(&stream);
    assert_eq!(found(&builder.graph), expected);
}

/// One layer with norms before, for what does not depend on how many there are.
fn one_layer() -> (Builder, String) {
    let mut builder = Builder::new();
    let embedding = builder.embedding();
    let stream = layer(&mut builder, &embedding);
    builder.output(&stream);
    (builder, stream)
}

fn layer(builder: &mut Builder, stream: &str) -> String {
    let normed = builder.norm(stream);
    let branch = builder.attention(&normed);
    let middle = builder.node("Add", &[stream, &branch]);
    let normed = builder.norm(&middle);
    let branch = builder.feed_forward(&normed);
    builder.node("Add", &[&middle, &branch])
}

#[test]
fn dimensions_are_read_off_the_weights() {
    let (builder, _) = one_layer();
    let points = taps(&builder.graph, &[]).unwrap();
    let found = dimensions(&builder.graph, &points, "input_ids", None).unwrap();
    let expected = (Some(builder::HIDDEN), Some(builder::VOCABULARY), None);
    assert_eq!((found.hidden, found.vocabulary, found.segments), expected);
}

/// What is wrong with the stream of a graph, and what is offered to choose from.
fn refused(graph: &GraphProto) -> (&'static str, String) {
    match taps(graph, &[]).unwrap_err() {
        TapError::Stream { problem, candidates } => (problem, candidates),
        other => panic!("{other}"),
    }
}

#[test]
fn a_graph_without_attention_says_what_there_is() {
    let mut builder = Builder::new();
    let mut stream = builder.embedding();
    for _ in 0..60 {
        let branch = builder.feed_forward(&stream);
        stream = builder.node("Add", &[&stream, &branch]);
    }
    builder.output(&stream);
    let (problem, candidates) = refused(&builder.graph);
    assert!(problem.contains("attention"), "{problem}");
    // The embedding, and of each layer GELU's sum and the layer's.
    assert!(candidates.contains("The first 48 of 121"), "{candidates}");
    assert_eq!(candidates.lines().count(), 49);

    let (problem, candidates) = refused(&GraphProto::default());
    assert!(
        problem.contains("attention") && candidates.contains("no sums"),
        "{problem}{candidates}"
    );
}

#[test]
fn what_is_not_certain_is_not_guessed() {
    // An encoder and a decoder of one length.
    let mut builder = Builder::new();
    for _ in 0..2 {
        let embedding = builder.embedding();
        let first = layer(&mut builder, &embedding);
        let second = layer(&mut builder, &first);
        builder.output(&second);
    }
    assert!(refused(&builder.graph).0.contains("several"));

    // A layer with a second feed-forward part.
    let mut builder = Builder::new();
    let embedding = builder.embedding();
    let mut stream = layer(&mut builder, &embedding);
    let branch = builder.feed_forward(&stream);
    stream = builder.node("Add", &[&stream, &branch]);
    stream = layer(&mut builder, &stream);
    builder.output(&stream);
    let (problem, candidates) = refused(&builder.graph);
    assert!(problem.contains("differ"), "{problem}");
    assert!(candidates.contains(&format!("\n    {stream} (Add, [?, ?, 8])")), "{candidates}");
}

#[test]
fn values_can_be_named_instead() {
    let (builder, last) = one_layer();
    let name = |index: usize| builder.graph.node[index].output[0].clone();
    let (embedding, normed) = (name(3), name(4));
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        taps(&builder.graph, &names)
    };
    assert_eq!(named(&[&embedding, &last]).unwrap(), taps(&builder.graph, &[]).unwrap());
    assert_eq!(named(&[&embedding, &normed, &last]).unwrap().len(), 3);
    let cases: [(&[&str], &str); 5] = [
        (&["nobody", &last], "\"nobody\" is no value"),
        (&[&last, &embedding], "before the tap that is named before it"),
        (&[&last, &last], "before the tap that is named before it"),
        (&[&last], "is the only one"),
        (&["weight.0", &last], "does not depend on the tokens"),
    ];
    for (names, problem) in cases {
        let error = named(names).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem:?} is not in: {error}");
        assert!(error.contains(&format!("{last} (Add")), "{error}");
    }
}

#[test]
fn another_number_of_layers_than_expected_is_refused() {
    let (builder, last) = one_layer();
    let points = taps(&builder.graph, &[]).unwrap();
    check_layers(&builder.graph, &points, 1).unwrap();
    let error = check_layers(&builder.graph, &points, 2).unwrap_err().to_string();
    for words in ["1 layers were found", "says 2", &format!("{last} (Add")] {
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
}

#[test]
fn hidden_states_in_half_precision_are_refused() {
    let (mut builder, last) = one_layer();
    builder.graph.value_info.push(ValueInfoProto::tensor(&last, FLOAT16, &[]));
    builder.graph.output.clear();
    let error = taps(&builder.graph, &[]).unwrap_err().to_string();
    assert!(error.contains(&last) && error.contains("float16"), "{error}");
}

#[test]
fn a_graph_that_cannot_be_followed_is_refused() {
    let (builder, _) = one_layer();
    let graph = |change: fn(&mut GraphProto)| {
        let mut graph = builder.graph.clone();
        change(&mut graph);
        taps(&graph, &[]).unwrap_err().to_string()
    };
    assert!(graph(|graph| graph.node.reverse()).contains("topological order"));
    assert!(graph(|graph| graph.node.push(graph.node[5].clone())).contains("once more"));
    assert!(
        graph(|graph| graph.initializer.push(graph.initializer[0].clone())).contains("two weights")
    );
}

/// A graph of n sums that each could start a chain takes little more than n steps, and one that would
/// take n² is given up.
#[test]
fn hostile_graphs_end() {
    let mut builder = Builder::new();
    let first = builder.embedding();
    let mut stream = first.clone();
    for _ in 0..60_000 {
        stream = builder.node("Add", &[&first, &stream]);
    }
    builder.output(&stream);
    assert!(matches!(taps(&builder.graph, &[]), Err(TapError::Stream { .. })));
}
