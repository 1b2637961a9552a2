//! What is computed: the networks, their options and their tensors.

use mobillm_core::diagnostic::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blueprint::Blueprint;
use crate::parameter::{Parameter, Start};

/// The largest bottleneck, and the largest width of a projection.
pub(crate) const MAX_WIDTH: usize = 4096;

/// What is computed, whether it answers alone or is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Adapters one after the other, each token for itself.
    AdapterChain(Bottleneck),
    /// All taps projected to one width, and the tokens pooled there.
    TokenPooling(Projection),
}

/// The options of a chain of adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Bottleneck {
    /// Width of each adapter's bottleneck.
    #[schemars(range(min = 1, max = 4096))]
    pub rank: usize,
    /// The bottleneck's activation function.
    pub activation: Activation,
}

impl Default for Bottleneck {
    fn default() -> Self {
        Self { rank: 64, activation: Activation::default() }
    }
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

/// The options of pooling over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Projection {
    /// Width that the taps of a token are projected to.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
}

impl Default for Projection {
    fn default() -> Self {
        Self { width: 64 }
    }
}

impl Network {
    /// What is wrong with the options.
    pub(crate) fn check_options(&self) -> Option<Diagnostic> {
        let (option, value) = match self {
            Self::AdapterChain(Bottleneck { rank, .. }) => ("rank", *rank),
            Self::TokenPooling(Projection { width }) => ("width", *width),
        };
        let path = format!("architecture.{option}");
        let problem = || Diagnostic::new(path, format!("{value} is out of range"));
        let expected = format!("1 to {MAX_WIDTH}");
        (!(1..=MAX_WIDTH).contains(&value)).then(|| problem().expected(expected))
    }

    /// The trained tensors for the dimensions of `blueprint`.
    pub(crate) fn parameters(&self, blueprint: &Blueprint) -> Vec<Parameter> {
        match self {
            Self::AdapterChain(Bottleneck { rank, .. }) => chain(*rank, blueprint),
            Self::TokenPooling(Projection { width }) => pooling(*width, blueprint),
        }
    }
}

fn chain(rank: usize, blueprint: &Blueprint) -> Vec<Parameter> {
    let (hidden, outputs) = (blueprint.hidden, blueprint.objective.outputs());
    let mut parameters = Vec::new();
    for layer in &blueprint.taps {
        let mut add = |name: &str, shape: &[usize], start| {
            parameters.push(Parameter::new(format!("layer.{layer}.{name}"), shape, start));
        };
        add("norm.gain", &[hidden], Start::One);
        add("norm.bias", &[hidden], Start::Zero);
        add("down", &[hidden, rank], Start::Spread(hidden));
        add("up", &[rank, hidden], Start::Zero);
    }
    let gates = blueprint.taps.len().saturating_sub(1);
    parameters.push(Parameter::new("gates".to_owned(), &[gates], Start::Zero));
    parameters.extend(head(hidden, outputs));
    parameters
}

fn pooling(width: usize, blueprint: &Blueprint) -> Vec<Parameter> {
    let Blueprint { taps, hidden, .. } = blueprint;
    // the sum over the taps has a variance of one
    let start = Start::Spread(hidden.saturating_mul(taps.len()));
    let project =
        |layer| Parameter::new(format!("layer.{layer}.project"), &[*hidden, width], start);
    let mut parameters: Vec<Parameter> = taps.iter().map(project).collect();
    let mut add =
        |name: &str, start| parameters.push(Parameter::new(name.to_owned(), &[width], start));
    add("bias", Start::Zero);
    add("norm.gain", Start::One);
    add("norm.bias", Start::Zero);
    parameters.extend(head(width.saturating_mul(2), blueprint.objective.outputs()));
    parameters
}

/// From `inputs` numbers a sample to the outputs.
fn head(inputs: usize, outputs: usize) -> [Parameter; 2] {
    let parameter =
        |name: &str, shape: &[usize]| Parameter::new(name.to_owned(), shape, Start::Zero);
    [parameter("head.weight", &[inputs, outputs]), parameter("head.bias", &[outputs])]
}
