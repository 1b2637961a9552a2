//! A reader of all that a model has, for tests and fuzzing.

use prost::Message;

use crate::messages::{GraphProto, ModelProto};
use crate::{DecodeError, depends_on, dimensions, hoist_constants, inputs, rewrite, taps};

/// Takes `bytes` as a model: reads it whole, and if its taps and inputs are found, rewrites its graph
/// with hidden states of `hidden` values.
///
/// # Errors
/// If they are no model.
///
/// # Panics
/// If what is written is not what was read, or a rewritten graph has not the taps that were found, which
/// no file may bring about.
pub fn read_all(bytes: &[u8], hidden: usize) -> Result<(), DecodeError> {
    let mut model = ModelProto::read(bytes.to_vec().into())?;
    let again = ModelProto::read(model.encode_to_vec().into())?;
    // Not a number is unequal to itself.
    assert_eq!(format!("{model:?}"), format!("{again:?}"));
    if let Some(graph) = &mut model.graph {
        hoist_constants(graph);
        rewrite_if_possible(graph, hidden);
    }
    Ok(())
}

/// Rewrites `graph` if it has taps and known inputs, and says whether it does.
///
/// # Panics
/// If its values have not the names of a bundle's afterwards.
pub fn rewrite_if_possible(graph: &mut GraphProto, hidden: usize) -> bool {
    let (Ok(points), Ok(given)) = (taps(graph, &[]), inputs(graph)) else { return false };
    let found = dimensions(graph, &points, "input_ids", None);
    assert!(found.is_ok(), "{found:?} of a graph whose taps were found");
    rewrite(graph, &points, &given, hidden, None);
    let names: Vec<String> = (0..points.len()).map(|layer| format!("tap.{layer}")).collect();
    assert!(taps(graph, &names).is_ok_and(|taps| taps.len() == points.len()));
    let last = &graph.output[0].name;
    assert_eq!(*last, names[points.len() - 1]);
    assert!(depends_on(graph, last, "attention_mask").is_ok());
    true
}
