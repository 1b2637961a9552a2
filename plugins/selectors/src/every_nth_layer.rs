//! Fewer layers: composition of a choice of layers with a choice of tokens.

use std::num::NonZeroUsize;

use mobillm_core::backbone::BackboneInfo;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chosen_layers::ChosenLayers;
use crate::tokens;

/// Every n-th layer, counted from the last, which is always tapped.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EveryNthLayerConfig {
    /// How many layers there are from one tap to the next.
    #[schemars(example = 2)]
    pub n: NonZeroUsize,
    /// Which tokens of these layers, and which layers are counted.
    #[serde(default = "tokens::default")]
    #[schemars(schema_with = "tokens::schema")]
    pub tokens: Box<dyn SelectorConfig>,
}

impl Plugin for EveryNthLayerConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "every-nth-layer";
}

#[typetag::serde(name = "every-nth-layer")]
impl SelectorConfig for EveryNthLayerConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        let mut found = tokens::check(&*self.tokens, info);
        if self.n.get() > info.layers {
            let message = format!("{} is more than the model's {} layers", self.n, info.layers);
            let help = format!("{} taps the last layer alone", info.layers);
            let expected = format!("1 to {}", info.layers);
            found.push(Diagnostic::new("n", message).expected(expected).help(help));
        }
        found
    }

    fn build(&self, info: &BackboneInfo) -> Box<dyn Selector> {
        let tokens = self.tokens.build(info);
        let mut layers: Vec<usize> =
            tokens.layers(info).into_iter().rev().step_by(self.n.get()).collect();
        layers.reverse();
        Box::new(ChosenLayers { layers, tokens })
    }
}

#[cfg(test)]
mod tests {
    use mobillm_core::backbone::{Pooling, Tap};

    use super::*;
    use crate::setup::{self, config};

    fn info(layers: usize) -> BackboneInfo {
        setup::info(layers, Pooling::LastToken)
    }

    fn layers(json: &str, of: usize) -> Vec<usize> {
        config(json).build(&info(of)).layers(&info(of))
    }

    #[test]
    fn it_is_a_selector() {
        for json in [
            r#"{ "type": "every-nth-layer", "n": 1 }"#,
            r#"{ "type": "every-nth-layer", "n": 5 }"#,
            r#"{ "type": "every-nth-layer", "n": 3, "tokens": { "type": "all", "embedding": true } }"#,
            r#"{ "type": "every-nth-layer", "n": 2, "tokens": { "type": "loss-tokens" } }"#,
        ] {
            mobillm_testkit::selector::conformance(config(json).as_ref());
        }
    }

    #[test]
    fn layers_are_counted_from_the_last() {
        assert_eq!(layers(r#"{ "type": "every-nth-layer", "n": 3 }"#, 7), [1, 4, 7]);
        assert_eq!(layers(r#"{ "type": "every-nth-layer", "n": 7 }"#, 7), [7]);
        let embedding = r#"{ "type": "every-nth-layer", "n": 3, "tokens": { "type": "all", "embedding": true } }"#;
        assert_eq!(layers(embedding, 6), [0, 3, 6]);
        assert_eq!(layers(embedding, 7), [1, 4, 7]);
    }

    #[test]
    fn layers_then_tokens() {
        let json = r#"{ "type": "every-nth-layer", "n": 2, "tokens": { "type": "loss-tokens" } }"#;
        let info = info(6);
        let selector = config(json).build(&info);
        assert_eq!(selector.layers(&info), [2, 4, 6]);
        assert_eq!([0, 1, 8].map(|tokens| selector.rows(tokens)), [0, 1, 1]);
        let hidden = ndarray::array![[[1.0], [2.0], [9.0]], [[3.0], [4.0], [5.0]]];
        let tap = Tap { layer: 4, hidden: hidden.view(), lengths: &[2, 3] };
        assert_eq!(selector.select(&tap, Vec::new()).unwrap().values(), [2.0, 5.0]);
    }

    #[test]
    fn more_than_the_layers_is_a_mistake_and_so_is_0() {
        let findings = config(r#"{ "type": "every-nth-layer", "n": 8 }"#).check(&info(7));
        assert_eq!(
            findings[0].to_string(),
            "n: 8 is more than the model's 7 layers; expected 1 to 7; 7 taps the last layer alone"
        );
        let nested = r#"{ "type": "every-nth-layer", "n": 1, "tokens": { "type": "every-nth-layer", "n": 9 } }"#;
        assert_eq!(config(nested).check(&info(7))[0].path, "tokens.n");
        let zero = r#"{ "type": "every-nth-layer", "n": 0 }"#;
        assert!(serde_json::from_str::<Box<dyn SelectorConfig>>(zero).is_err());
    }
}
