//! Any bytes as an ONNX model: an error, or messages that are written as they were read, and a graph
//! that is refused or gets its taps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobillm_onnx::messages::ModelProto;
use prost::Message;

fuzz_target!(|file: &[u8]| {
    let Ok(mut model) = ModelProto::read(file.to_vec().into()) else { return };
    let again = ModelProto::read(model.encode_to_vec().into()).unwrap();
    // Not a number is unequal to itself.
    assert_eq!(format!("{model:?}"), format!("{again:?}"));
    let Some(graph) = &mut model.graph else { return };
    mobillm_onnx::hoist_constants(graph);
    let (Ok(taps), Ok(inputs)) = (mobillm_onnx::taps(graph, &[]), mobillm_onnx::inputs(graph)) else {
        return;
    };
    let _ = mobillm_onnx::dimensions(graph, &taps, "input_ids", None);
    mobillm_onnx::rewrite(graph, &taps, &inputs, 8, None);
    let names: Vec<String> = (0..taps.len()).map(|layer| format!("tap.{layer}")).collect();
    assert_eq!(mobillm_onnx::taps(graph, &names).unwrap().len(), taps.len());
});
