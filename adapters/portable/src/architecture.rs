//! Which network it is.

use mobillm_core::diagnostic::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest bottleneck.
const MAX_RANK: usize = 4096;

/// Which network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// MobiLLM: an adapter beside each tapped layer, joined by learned gates; tokens do not mix.
    ///
    /// With `A_t` the rows of tap t, `d` wide, and `h_t` the output of its adapter
    /// (PAE MobiLLM, arXiv 2507.01216):
    ///
    /// ```text
    /// S_1 = norm_1(A_1)      S_t = (1 - mu_t) norm_t(A_t) + mu_t h_(t-1)      mu_t = sigmoid(gates_t)
    /// h_t = S_t + act(S_t down_t) up_t                down_t [d, rank]        up_t [rank, d]
    /// output = pool(h_T) head + bias                  head [d, outputs]
    /// ```
    ///
    /// `norm_t` is a LayerNorm with gain and bias: hidden states grow a hundredfold over depth.
    /// `up` and `head` start at zero, so that the first output is exactly zero.
    ParallelAdapter {
        /// Width of each adapter's bottleneck.
        #[serde(default = "default_rank")]
        #[schemars(range(min = 1, max = 4096))]
        rank: usize,
        /// The bottleneck's activation function.
        #[serde(default)]
        activation: Activation,
    },
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// GELU in its tanh form: `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    #[default]
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

fn default_rank() -> usize {
    64
}

impl Default for Architecture {
    fn default() -> Self {
        Self::ParallelAdapter { rank: default_rank(), activation: Activation::default() }
    }
}

impl Architecture {
    /// Its name, as in a config's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ParallelAdapter { .. } => "parallel-adapter",
        }
    }

    /// Everything that is wrong with the options.
    pub(crate) fn check(&self) -> Vec<Diagnostic> {
        let Self::ParallelAdapter { rank, .. } = self;
        if (1..=MAX_RANK).contains(rank) {
            return Vec::new();
        }
        let problem = Diagnostic::new("architecture.rank", format!("{rank} is out of range"));
        vec![problem.expected(format!("1 to {MAX_RANK}"))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_unknown_ones_are_refused() {
        let parse = serde_json::from_str::<Architecture>;
        assert_eq!(parse(r#"{"type":"parallel-adapter"}"#).unwrap(), Architecture::default());
        let small = parse(r#"{"type":"parallel-adapter","rank":8,"activation":"relu"}"#).unwrap();
        let expected = Architecture::ParallelAdapter { rank: 8, activation: Activation::Relu };
        assert_eq!(small, expected);
        assert!(parse(r#"{"type":"parallel-adapter","rnk":8}"#).is_err());
        assert!(parse(r#"{"type":"ladder"}"#).is_err());
    }

    #[test]
    fn the_schema_tells_the_range() {
        let schema = serde_json::to_value(schemars::schema_for!(Architecture)).unwrap();
        let rank = &schema["oneOf"][0]["properties"]["rank"];
        assert_eq!((&rank["maximum"], &rank["default"]), (&MAX_RANK.into(), &64.into()));
    }

    #[test]
    fn a_rank_out_of_range_is_found() {
        let rank = |rank| Architecture::ParallelAdapter { rank, activation: Activation::Gelu };
        for bad in [0, MAX_RANK + 1] {
            let found = rank(bad).check();
            assert_eq!(found[0].path, "architecture.rank");
        }
        assert!(rank(1).check().is_empty());
    }
}
