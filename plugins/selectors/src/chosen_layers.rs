//! Layers by number: composition of a list of layers with a choice of tokens.

use mobillm_core::activations::Selected;
use mobillm_core::backbone::{BackboneInfo, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tokens;

/// The layers of a list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChosenLayersConfig {
    /// The layers to tap, ascending: 0 is the embedding, i the output of layer i.
    #[schemars(example = [2, 4, 6])]
    pub layers: Vec<usize>,
    /// Which tokens of these layers.
    #[serde(default = "tokens::default")]
    #[schemars(schema_with = "tokens::schema")]
    pub tokens: Box<dyn SelectorConfig>,
}

impl Plugin for ChosenLayersConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "chosen-layers";
}

#[typetag::serde(name = "chosen-layers")]
impl SelectorConfig for ChosenLayersConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        let mut found = tokens::check(&*self.tokens, info);
        let expected = format!("at least one, ascending, each from 0 to {}", info.layers);
        let mut problem =
            |message: String| found.push(Diagnostic::new("layers", message).expected(&*expected));
        if self.layers.is_empty() {
            problem("no layer is chosen".to_owned());
        }
        if !self.layers.is_sorted_by(|a, b| a < b) {
            problem(format!("{:?} is not ascending", self.layers));
        }
        if let Some(layer) = self.layers.iter().find(|layer| **layer > info.layers) {
            problem(format!("{layer} is beyond the model's {} layers", info.layers));
        }
        found
    }

    fn build(&self, info: &BackboneInfo) -> Box<dyn Selector> {
        Box::new(ChosenLayers { layers: self.layers.clone(), tokens: self.tokens.build(info) })
    }
}

/// Taps the layers of a list, with another selector's tokens.
pub struct ChosenLayers {
    pub(crate) layers: Vec<usize>,
    pub(crate) tokens: Box<dyn Selector>,
}

impl Selector for ChosenLayers {
    fn layers(&self, _: &BackboneInfo) -> Vec<usize> {
        self.layers.clone()
    }

    fn rows(&self, tokens: usize) -> usize {
        self.tokens.rows(tokens)
    }

    fn is_fixed(&self) -> bool {
        self.tokens.is_fixed()
    }

    fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError> {
        self.tokens.select(tap, memory)
    }
}

#[cfg(test)]
mod tests {
    use mobillm_core::backbone::Pooling;

    use super::*;
    use crate::setup::{self, config};

    fn info(layers: usize) -> BackboneInfo {
        setup::info(layers, Pooling::LastToken)
    }

    #[test]
    fn it_is_a_selector() {
        for json in [
            r#"{ "type": "chosen-layers", "layers": [12] }"#,
            r#"{ "type": "chosen-layers", "layers": [0, 3, 4, 9] }"#,
            r#"{ "type": "chosen-layers", "layers": [2, 5], "tokens": { "type": "loss-tokens" } }"#,
        ] {
            mobillm_testkit::selector::conformance(config(json).as_ref());
        }
    }

    #[test]
    fn the_layers_are_the_list_and_the_tokens_the_selectors() {
        let info = info(6);
        let all = config(r#"{ "type": "chosen-layers", "layers": [0, 5] }"#).build(&info);
        let json =
            r#"{ "type": "chosen-layers", "layers": [2, 5], "tokens": { "type": "loss-tokens" } }"#;
        let one = config(json).build(&info);
        assert_eq!((all.layers(&info), one.layers(&info)), (vec![0, 5], vec![2, 5]));
        assert_eq!((all.rows(7), one.rows(7)), (7, 1));
        let hidden = ndarray::array![[[1.0], [2.0], [9.0]], [[3.0], [4.0], [5.0]]];
        let tap = Tap { layer: 5, hidden: hidden.view(), lengths: &[2, 3] };
        assert_eq!(all.select(&tap, Vec::new()).unwrap().values(), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(one.select(&tap, Vec::new()).unwrap().values(), [2.0, 5.0]);
    }

    #[test]
    fn layers_that_the_model_has_not_are_mistakes() {
        let found = |layers: &str| {
            let json = format!(r#"{{ "type": "chosen-layers", "layers": {layers} }}"#);
            let found = config(&json).check(&info(7));
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let expected = "expected at least one, ascending, each from 0 to 7";
        assert_eq!(found("[]"), [format!("layers: no layer is chosen; {expected}")]);
        let twice = format!("layers: [3, 3] is not ascending; {expected}");
        assert_eq!(found("[3, 3]"), [twice]);
        let beyond = format!("layers: 9 is beyond the model's 7 layers; {expected}");
        assert_eq!(found("[7, 9]"), [beyond]);
        assert!(found("[0, 7]").is_empty());
        let nested = r#"{ "type": "chosen-layers", "layers": [1], "tokens": { "type": "every-nth-layer", "n": 9 } }"#;
        assert_eq!(config(nested).check(&info(7))[0].path, "tokens.n");
        let none = r#"{ "type": "chosen-layers" }"#;
        assert!(serde_json::from_str::<Box<dyn SelectorConfig>>(none).is_err());
    }
}
