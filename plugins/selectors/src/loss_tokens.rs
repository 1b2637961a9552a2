//! What enters the loss, and nothing else.

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::backbone::{BackboneInfo, Pooling, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use ndarray::{Array1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::all::All;
use crate::padding;

/// The one row of every layer that enters the loss (PAE MobiLLM): the first token, the last token
/// or the mean over tokens, as the bundle says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossTokensConfig {}

impl Plugin for LossTokensConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "loss-tokens";
}

#[typetag::serde(name = "loss-tokens")]
impl SelectorConfig for LossTokensConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, info: &BackboneInfo) -> Box<dyn Selector> {
        Box::new(LossTokens { pooling: info.pooling })
    }
}

/// Selects "the token involved in the loss calculation" (PAE MobiLLM, arXiv 2507.01216): one row a
/// sample, by the bundle's [`Pooling`].
///
/// | pooling | the row |
/// |---|---|
/// | first token | the first token's |
/// | last token | the last token's that is not padding |
/// | mean | the mean over all tokens that are not padding |
///
/// Adapters that never mix tokens compute the same from this row as from all tokens when the loss
/// is on one token: nothing is lost. Under mean pooling something is: the mean is taken before the
/// adapters, which are not linear, where `all` has it taken after them. The two then train different
/// networks.
///
/// Positions are sent, and every row says 0: which token it was stays on the device, for that of the
/// last token would tell how long the text is. What the order of the samples tells of their lengths is
/// no selector's to hide; see [`mobillm_core::sample`].
#[derive(Debug, Clone)]
pub struct LossTokens {
    pooling: Pooling,
}

impl Selector for LossTokens {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        All { embedding: false }.layers(info)
    }

    fn rows(&self, tokens: usize) -> usize {
        tokens.min(1)
    }

    fn select(&self, tap: &Tap<'_>, mut memory: Vec<f32>) -> Result<Selected, SelectorError> {
        let samples = padding::samples(tap)?;
        let (batch, _, hidden) = tap.hidden.dim();
        memory.clear();
        memory.reserve(batch * hidden);
        for tokens in samples {
            let Some(last) = tokens.nrows().checked_sub(1) else { continue };
            match self.pooling {
                Pooling::FirstToken => padding::append(&mut memory, tokens.row(0)),
                Pooling::LastToken => padding::append(&mut memory, tokens.row(last)),
                Pooling::Mean => memory.extend(mean(tokens)),
            }
        }
        let layout = Layout::from_counts(tap.lengths.iter().map(|&tokens| self.rows(tokens)));
        Ok(Selected::new(tap.layer, layout, hidden, memory)?)
    }
}

/// The mean over `[tokens, hidden]`, in one pass. Sums are f64: those of a long text in f32 lose the
/// small channels' last digits.
fn mean(tokens: ArrayView2<'_, f32>) -> impl Iterator<Item = f32> {
    let mut sums = Array1::<f64>::zeros(tokens.ncols());
    for token in tokens.outer_iter() {
        sums.zip_mut_with(&token, |sum, value| *sum += f64::from(*value));
    }
    let count = tokens.nrows() as f64;
    sums.into_iter().map(move |sum| (sum / count) as f32)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, Axis};

    use super::*;
    use crate::all::AllConfig;
    use crate::setup;

    const POOLINGS: [Pooling; 3] = [Pooling::FirstToken, Pooling::Mean, Pooling::LastToken];

    fn info(pooling: Pooling) -> BackboneInfo {
        setup::info(6, pooling)
    }

    fn selector(pooling: Pooling) -> Box<dyn Selector> {
        LossTokensConfig {}.build(&info(pooling))
    }

    fn select(selector: &dyn Selector, hidden: &Array3<f32>, lengths: &[usize]) -> Selected {
        selector.select(&Tap { layer: 2, hidden: hidden.view(), lengths }, Vec::new()).unwrap()
    }

    mobillm_testkit::selector_conformance!(LossTokensConfig {});

    #[test]
    fn it_has_no_options_and_taps_every_layer() {
        for pooling in POOLINGS {
            assert_eq!(selector(pooling).layers(&info(pooling)), [1, 2, 3, 4, 5, 6]);
        }
        let json = r#"{ "type": "loss-tokens", "embedding": true }"#;
        let error = serde_json::from_str::<Box<dyn SelectorConfig>>(json).unwrap_err();
        assert!(error.to_string().contains("unknown field `embedding`"), "{error}");
    }

    #[test]
    fn its_rows_are_those_of_all_after_pooling() {
        let lengths = [4, 1, 0, 3];
        let hidden = Array3::from_shape_fn((4, 5, 3), |(sample, token, channel)| {
            if token < lengths[sample] {
                (sample * 31 + token * 7 + channel) as f32
            } else {
                f32::NAN
            }
        });
        for pooling in POOLINGS {
            let all =
                select(AllConfig::default().build(&info(pooling)).as_ref(), &hidden, &lengths);
            let rows = all.rows();
            let mut pooled = Array2::zeros((0, 3));
            for sample in [0, 1, 3] {
                let range = all.layout().range(sample);
                let rows = rows.slice_axis(Axis(0), range.into());
                let row = match pooling {
                    Pooling::FirstToken => rows.row(0).to_owned(),
                    Pooling::LastToken => rows.row(rows.nrows() - 1).to_owned(),
                    Pooling::Mean => rows.mean_axis(Axis(0)).unwrap(),
                };
                pooled.push_row(row.view()).unwrap();
            }
            let selected = select(selector(pooling).as_ref(), &hidden, &lengths);
            assert_eq!(selected.rows(), pooled, "{pooling:?}");
        }
    }

    #[test]
    fn no_layout_tells_which_token_it_was() {
        // A sample without tokens has no row; that is all there is to see of their number.
        let (lengths, hidden) = ([4, 1, 0, 3], Array3::zeros((4, 5, 3)));
        for pooling in POOLINGS {
            let selected = select(selector(pooling).as_ref(), &hidden, &lengths);
            assert_eq!(**selected.layout(), Layout::from_counts([1, 1, 0, 1]), "{pooling:?}");
        }
    }

    #[test]
    fn one_token_needs_no_other() {
        for (pooling, needed) in [(Pooling::FirstToken, 0), (Pooling::LastToken, 2)] {
            let hidden = Array3::from_shape_fn((1, 4, 3), |(_, token, channel)| {
                if token == needed { channel as f32 } else { f32::NAN }
            });
            let selected = select(selector(pooling).as_ref(), &hidden, &[3]);
            assert_eq!(selected.values(), [0.0, 1.0, 2.0], "{pooling:?}");
        }
    }

    #[test]
    fn a_mean_over_many_tokens_keeps_its_digits() {
        let mut hidden = Array3::ones((1, 1024, 1));
        hidden[[0, 0, 0]] = 16_777_216.0;
        let mean = select(selector(Pooling::Mean).as_ref(), &hidden, &[1024]);
        // A running f32 sum never gets beyond 2^24, and gives 16,384.
        assert_eq!(mean.values(), [16_385.0]);
    }
}
