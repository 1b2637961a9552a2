//! Taps leave while the graph runs.

use std::fs;
use std::path::Path;

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::onnx::{INT64, ModelProto, NodeProto, TensorProto};
use mobillm_bundle::{Bundle, FileDigest};
use mobillm_core::backbone::{BackboneError, ForwardContext, Tap, TokenBatch, Tokens};
use prost::Message;

use crate::setup;

fn batch() -> TokenBatch {
    let tokens = |ids: Vec<u32>| Tokens { segments: vec![0; ids.len()], ids };
    TokenBatch::new(&[tokens(vec![2, 5, 6, 3]), tokens(vec![2, 7, 3])], 0)
}

fn node(op_type: &str, inputs: [&str; 2], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.map(str::to_owned).to_vec(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: op_type.to_owned(),
        ..NodeProto::default()
    }
}

/// A bundle of `tiny` that fails when `value` is computed: it looks for sample 999,999 of the batch.
fn broken_at(value: &str, tiny: &TinyBert, out: &Path) -> Bundle {
    let bundle = tiny.bundle(out).unwrap();
    let mut model = ModelProto::decode(&*fs::read(bundle.graph_path()).unwrap()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.push(TensorProto {
        dims: vec![1],
        data_type: INT64,
        name: "nobody".to_owned(),
        raw_data: 999_999_i64.to_le_bytes().to_vec().into(),
        ..TensorProto::default()
    });
    let at = graph.node.iter().position(|node| node.output[0] == value).unwrap();
    let sum = std::mem::replace(&mut graph.node[at].input[0], "broken".to_owned());
    graph.node.insert(at, node("Gather", [&sum, "nobody"], "missing"));
    graph.node.insert(at + 1, node("Add", [&sum, "missing"], "broken"));
    fs::write(bundle.graph_path(), model.encode_to_vec()).unwrap();

    let mut manifest = bundle.manifest().clone();
    let digest = FileDigest::of(&bundle.graph_path()).unwrap();
    manifest.files.insert("model.onnx".to_owned(), digest);
    manifest.model.bundle = manifest.fingerprint();
    fs::write(out.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    Bundle::open(out).unwrap()
}

/// If the taps came after the layers or the head had run, none would come: the run has failed by then.
#[test]
fn taps_arrive_although_a_later_layer_or_the_head_fails() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = TinyBert::with_head(2);
    for (broken, value) in [(1, "tap.1"), (2, "tap.2"), (3, "tap.3"), (4, "own_prediction")] {
        let bundle = broken_at(value, &tiny, &folder.path().join(value));
        let mut backbone = setup::build(&bundle, &[0, 1, 2, 3]);
        let mut arrived = Vec::new();
        let mut sink = |tap: Tap<'_>| {
            arrived.push(tap.layer);
            Ok(())
        };
        let error = backbone.forward(&batch(), &ForwardContext::default(), &mut sink).unwrap_err();
        assert!(matches!(&error, BackboneError::Engine { .. }), "{error}");
        assert_eq!(arrived, (0..broken).collect::<Vec<_>>());
    }
}

#[test]
fn layers_above_the_highest_tap_do_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = broken_at("tap.2", &TinyBert::default(), &folder.path().join("bundle"));
    let mut backbone = setup::build(&bundle, &[1]);
    let own = backbone.forward(&batch(), &ForwardContext::default(), &mut |_: Tap<'_>| Ok(()));
    assert!(own.unwrap().is_none());
}
