//! What a model itself answers with.

use mobillm_weights::WeightsError;

use super::GraphWriter;
use super::linear::Input;
use crate::manifest::{LAST_TOKENS, OWN_PREDICTION, OWN_STATE};
use crate::network::{Activation, Head};
use crate::onnx::{AttributeProto, Axis};

impl GraphWriter<'_> {
    /// Adds the output of the model's head, which takes `state`, the last tap.
    pub(super) fn head(&mut self, state: &str, head: Head) -> Result<(), WeightsError> {
        let (output, name, width) = match head {
            Head::Classifier { activation, outputs } => {
                (self.classifier(state, activation)?, OWN_PREDICTION, outputs)
            }
            Head::Vocabulary { .. } => {
                (self.own_state(state)?, OWN_STATE, self.network.embedding.width)
            }
        };
        let output = self.graph.call(&output, name);
        self.graph.output(&output, &[Axis::Named("batch"), Axis::Fixed(width)]);
        Ok(())
    }

    /// The logits `[batch, outputs]` from the first token.
    fn classifier(&mut self, state: &str, activation: Activation) -> Result<String, WeightsError> {
        let first = self.graph.integers(&[0]);
        let tokens = vec![AttributeProto::int("axis", 1)];
        let first = self.graph.node("Gather", &[state, &first], tokens);
        let first = if self.network.final_norm {
            Input::Normed { state: first, name: "norm".to_owned() }
        } else {
            Input::Rows(self.rows(&first))
        };
        let wide = self.linear(&first, "classifier.dense")?;
        let active = Input::Activated { activation, wide, factor: None };
        self.linear(&active, "classifier.output")
    }

    /// What is compared with the vocabulary, `[batch, width]`: norm and projection of the last token
    /// alone.
    fn own_state(&mut self, state: &str) -> Result<String, WeightsError> {
        let last = self.graph.input(LAST_TOKENS, &[Axis::Named("batch")]);
        let axis = self.graph.integers(&[1]);
        let last = self.graph.node("Unsqueeze", &[&last, &axis], vec![]);
        let batch = vec![AttributeProto::int("batch_dims", 1)];
        let last = self.graph.node("GatherND", &[state, &last], batch);
        let projects = self.network.embedding.width != self.info.hidden;
        match (self.network.final_norm, projects) {
            (false, false) => Ok(last),
            (true, false) => self.norm(&last, "norm"),
            (false, true) => self.linear(&Input::Rows(last), "head.projection"),
            (true, true) => {
                let normed = Input::Normed { state: last, name: "norm".to_owned() };
                self.linear(&normed, "head.projection")
            }
        }
    }
}
