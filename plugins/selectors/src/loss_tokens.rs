//! What enters the loss, and nothing else.

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::backbone::{BackboneInfo, Pooling, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use ndarray::{Array1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::padding;

/// The one row of every layer that enters the loss (PAE MobiLLM): the first token, the last token
/// or the mean over tokens, as the bundle says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossTokensConfig {
    /// Also tap layer 0, the embedding.
    pub embedding: bool,
}

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
        Box::new(LossTokens { embedding: self.embedding, pooling: info.pooling })
    }
}

/// Selects "the token involved in the loss calculation" (PAE MobiLLM, arXiv 2507.01216): one row a
/// sample, by the bundle's [`Pooling`].
///
/// | pooling | the row | its position |
/// |---|---|---|
/// | first token | the first token's | 0 |
/// | last token | the last token's that is not padding | tokens - 1 |
/// | mean | the mean over all tokens that are not padding | 0 |
///
/// Adapters that never mix tokens compute the same from this row as from all tokens when the loss
/// is on one token: nothing is lost. Under mean pooling something is: the mean is taken before the
/// adapters, which are not linear, where `all` has it taken after them. The two then train different
/// networks.
///
/// Positions are sent. That of the last token tells the server how long the text is; the others tell
/// nothing.
#[derive(Debug, Clone)]
pub struct LossTokens {
    embedding: bool,
    pooling: Pooling,
}

impl LossTokens {
    /// Where the row of a sample of `tokens` tokens comes from; without tokens there is none.
    fn position(&self, tokens: usize) -> Option<usize> {
        let last = tokens.checked_sub(1)?;
        match self.pooling {
            Pooling::FirstToken | Pooling::Mean => Some(0),
            Pooling::LastToken => Some(last),
        }
    }
}

impl Selector for LossTokens {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        (usize::from(!self.embedding)..=info.layers).collect()
    }

    fn rows(&self, tokens: usize) -> usize {
        tokens.min(1)
    }

    fn select(&self, tap: &Tap<'_>, mut memory: Vec<f32>) -> Result<Selected, SelectorError> {
        let samples = padding::samples(tap)?;
        let (batch, _, hidden) = tap.hidden.dim();
        memory.clear();
        memory.reserve(batch * hidden);
        let mut layout = Layout::empty();
        for tokens in samples {
            let position = self.position(tokens.nrows());
            layout.push(position.map(|position| position as u32));
            match (position, self.pooling) {
                (None, _) => {}
                (Some(_), Pooling::Mean) => memory.extend(mean(tokens)),
                (Some(position), _) => padding::append(&mut memory, tokens.row(position)),
            }
        }
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
    use mobillm_core::fingerprint::Fingerprint;
    use ndarray::{Array2, Array3, Axis};

    use super::*;
    use crate::all::AllConfig;

    const POOLINGS: [Pooling; 3] = [Pooling::FirstToken, Pooling::Mean, Pooling::LastToken];

    fn info(pooling: Pooling) -> BackboneInfo {
        BackboneInfo {
            architecture: "test".into(),
            layers: 6,
            hidden: 3,
            max_tokens: 9,
            vocabulary: 10,
            pooling,
            own_outputs: None,
            bundle: Fingerprint::of(b"test"),
        }
    }

    fn selector(pooling: Pooling) -> Box<dyn Selector> {
        LossTokensConfig::default().build(&info(pooling))
    }

    fn select(selector: &dyn Selector, hidden: &Array3<f32>, lengths: &[usize]) -> Selected {
        selector.select(&Tap { layer: 2, hidden: hidden.view(), lengths }, Vec::new()).unwrap()
    }

    #[test]
    fn it_is_a_selector() {
        for embedding in [false, true] {
            mobillm_testkit::selector::conformance(&LossTokensConfig { embedding });
        }
    }

    #[test]
    fn it_taps_the_layers_that_all_taps() {
        for (embedding, pooling) in [(false, POOLINGS[0]), (true, POOLINGS[2])] {
            let info = info(pooling);
            let all = AllConfig { embedding }.build(&info);
            let loss_tokens = LossTokensConfig { embedding }.build(&info);
            assert_eq!(loss_tokens.layers(&info), all.layers(&info));
        }
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
        for (pooling, positions) in POOLINGS.into_iter().zip([[0, 0, 0], [0, 0, 0], [3, 0, 2]]) {
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
            let layout = selected.layout();
            let of_sample = |sample: usize| layout.positions(sample);
            assert_eq!([of_sample(0), of_sample(1), of_sample(3)].concat(), positions);
            assert!(of_sample(2).is_empty(), "a sample without tokens has no row");
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
