//! Attention, its mask and its positions.

use mobillm_weights::WeightsError;

use super::GraphWriter;
use super::builder::{Value, integers, ours};
use super::linear::Input;
use crate::manifest::ATTENTION_MASK;
use crate::network::{Attention, Rotary};
use crate::onnx::{AttributeProto, BOOL};

impl GraphWriter<'_> {
    /// What attention of layer `layer` makes of `input`, before its output map:
    /// `[rows, heads * head_width]`.
    pub(super) fn attention(&mut self, layer: usize, input: &Input) -> Result<Value, WeightsError> {
        let name = |part: &str| format!("layers.{layer}.attention.{part}");
        let Attention { heads, key_heads, head_width, .. } = self.network.attention;
        let query = self.heads(input, &name("query"), heads)?;
        let query = self.normed_heads(query, &name("query_norm"), heads)?;
        let key = self.heads(input, &name("key"), key_heads)?;
        let key = self.normed_heads(key, &name("key_norm"), key_heads)?;
        let value = self.heads(input, &name("value"), key_heads)?;
        let attended = if self.steady {
            self.steady_attention(&query, &key, &value)
        } else {
            self.standard_attention(&query, &key, &value)
        };
        Ok(self.flat(&attended, heads * head_width))
    }

    /// Queries, keys or values, `[batch, tokens, heads * head_width]`.
    fn heads(&mut self, input: &Input, name: &str, heads: usize) -> Result<Value, WeightsError> {
        let product = self.linear(input, name)?;
        Ok(self.tokens(&product, heads * self.network.attention.head_width))
    }

    /// Queries or keys, normed head by head if the network asks for it.
    fn normed_heads(
        &mut self,
        state: Value,
        norm: &str,
        heads: usize,
    ) -> Result<Value, WeightsError> {
        let Attention { head_width, normed, .. } = self.network.attention;
        if !normed {
            return Ok(state);
        }
        let shape = self.graph.integers(&[0, 0, heads as i64, head_width as i64]);
        let cut = self.graph.node("Reshape", &[&state, &shape], vec![]);
        let weight = self.graph.weight(&format!("{norm}.weight"))?;
        let attributes = self.norm_attributes();
        let normed = self.graph.node("RMSNormalization", &[&cut, &weight], attributes);
        Ok(self.tokens(&normed, heads * head_width))
    }

    fn standard_attention(&mut self, query: &str, key: &str, value: &str) -> Value {
        let network = self.network;
        let Attention { heads, key_heads, causal, rotary, .. } = &network.attention;
        let (mut query, mut key) = (query.to_owned(), key.to_owned());
        if let Some(rotary) = rotary {
            query = self.turned(&query, rotary, *heads);
            key = self.turned(&key, rotary, *key_heads);
        }
        let mut attributes = integers(&[("q_num_heads", *heads), ("kv_num_heads", *key_heads)]);
        if *causal {
            attributes.push(AttributeProto::int("is_causal", 1));
            return self.graph.node("Attention", &[&query, &key, value], attributes);
        }
        let mask = self.padding_mask();
        self.graph.node("Attention", &[&query, &key, value, &mask], attributes)
    }

    /// Attention that is equal to the bit whatever the batch mates: a difference in rounding, before
    /// a quantization, could become one of a whole step.
    fn steady_attention(&mut self, query: &str, key: &str, value: &str) -> Value {
        let network = self.network;
        let Attention { heads, key_heads, causal, rotary, .. } = &network.attention;
        let frequencies = rotary.as_ref().map(|rotary| self.frequencies(rotary));
        let mut inputs = vec![query, key, value];
        match (&frequencies, causal) {
            (frequencies, true) => inputs.extend(frequencies.as_deref()),
            (frequencies, false) => {
                inputs.extend([frequencies.as_deref().unwrap_or_default(), ATTENTION_MASK]);
            }
        }
        let counts =
            [("heads", *heads), ("key_heads", *key_heads), ("causal", usize::from(*causal))];
        self.graph.node(ours("Attention"), &inputs, integers(&counts))
    }

    fn frequencies(&mut self, rotary: &Rotary) -> Value {
        self.graph.floats("frequencies", &rotary.frequencies)
    }

    /// `state`, `[batch, tokens, heads * head_width]`, turned by position.
    fn turned(&mut self, state: &str, rotary: &Rotary, heads: usize) -> Value {
        let angles = self.angles(rotary);
        let pairs = rotary.frequencies.len();
        let [cos, sin] = ["Cos", "Sin"].map(|function| {
            let table = self.graph.node(function, &[&angles], vec![]);
            let shape = self.shape(pairs);
            self.graph.node("Expand", &[&table, &shape], vec![])
        });
        let heads = vec![AttributeProto::int("num_heads", heads as i64)];
        self.graph.node("RotaryEmbedding", &[state, &cos, &sin], heads)
    }

    /// `[tokens, pairs]`: position times frequency.
    fn angles(&mut self, rotary: &Rotary) -> Value {
        let tokens = self.axis(1);
        let tokens = self.graph.node("Squeeze", &[&tokens], vec![]);
        let (zero, one) = (self.graph.integer(0), self.graph.integer(1));
        let positions = self.graph.node("Range", &[&zero, &tokens, &one], vec![]);
        let positions = self.as_float(&positions);
        let last = self.graph.integers(&[1]);
        let positions = self.graph.node("Unsqueeze", &[&positions, &last], vec![]);
        let frequencies = self.frequencies(rotary);
        self.graph.node("Mul", &[&positions, &frequencies], vec![])
    }

    /// `attention_mask`, `[batch, tokens]` of 0 and 1, to bool `[batch, 1, tokens, tokens]`: what is
    /// false gets a score of minus infinity, so that padding contributes exactly nothing.
    fn padding_mask(&mut self) -> Value {
        let to_bool = vec![AttributeProto::int("to", BOOL.into())];
        let mask = self.graph.node("Cast", &[ATTENTION_MASK], to_bool);
        let axes = self.graph.integers(&[1, 2]);
        let mask = self.graph.node("Unsqueeze", &[&mask, &axes], vec![]);
        let (batch, tokens) = (self.axis(0), self.axis(1));
        let one = self.graph.integers(&[1]);
        let along = vec![AttributeProto::int("axis", 0)];
        let shape = self.graph.node("Concat", &[&batch, &one, &tokens, &tokens], along);
        self.graph.node("Expand", &[&mask, &shape], vec![])
    }
}
