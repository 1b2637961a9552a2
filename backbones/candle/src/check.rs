//! What is asked of a backbone, compared with what the model has.

use mobillm_bundle::Bundle;
use mobillm_bundle::network::Network;
use mobillm_core::backbone::{BackboneError, BackboneInfo, TokenBatch};

pub(crate) fn check_taps(bundle: &Bundle, taps: &[usize]) -> Result<(), BackboneError> {
    let layers = bundle.info().layers;
    let wrong =
        |problem: String| Err(BackboneError::Bundle { path: bundle.path().to_owned(), problem });
    match taps {
        [] => wrong("no layer is tapped, expected at least one".to_owned()),
        _ if !taps.is_sorted_by(|a, b| a < b) => {
            wrong(format!("the taps {taps:?} are not in ascending order"))
        }
        [.., highest] if *highest > layers => {
            wrong(format!("layer {highest} is tapped, but the model has layers 0 to {layers}"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_batch(
    info: &BackboneInfo,
    network: &Network,
    batch: &TokenBatch,
) -> Result<(), BackboneError> {
    batch.check(info)?;
    let segments = network.embedding.segments;
    let outside = |(_, id): &(_, &i64)| segments > 0 && !(0..segments as i64).contains(*id);
    if let Some(((sample, token), id)) = batch.segments().indexed_iter().find(outside) {
        let problem =
            format!("token {token} is of segment {id}, but the model's segments end at {segments}");
        return Err(BackboneError::Batch { sample, problem });
    }
    Ok(())
}
