//! An architecture with the dimensions of one task.

use mobillm_core::backbone::Pooling;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{
    Optimizer, SideNetworkContext, SideNetworkError, SideNetworkInfo,
};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;

/// What every LayerNorm adds to the variance.
pub const LAYER_NORM_EPSILON: f32 = 1e-5;

/// The values of all parameters, row-major, in the order of [`Blueprint::parameters`].
pub type Weights = Vec<Vec<f32>>;

/// A network but for its weights: what the adapter file's header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blueprint {
    /// Which network.
    pub architecture: Architecture,
    /// The tapped layers, ascending.
    pub taps: Vec<usize>,
    /// Width of a hidden state.
    pub hidden: usize,
    /// How a sample's rows become one.
    pub pooling: Pooling,
    /// What the output is for.
    pub objective: Objective,
    /// The bundle whose activations it is trained on.
    pub bundle: Fingerprint,
}

/// How a network is trained: the rest of its context.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// What it is trained on. Files from before there was a choice say nothing: the truth.
    #[serde(default)]
    pub supervision: SupervisionKind,
    /// The optimizer and its schedule.
    pub optimizer: Optimizer,
    /// All steps of the run.
    pub steps: u64,
    /// Initial weights are a function of this.
    pub seed: u64,
}

impl Training {
    /// The part of `context` that is about training.
    pub(crate) fn new(context: &SideNetworkContext) -> Self {
        let SideNetworkContext { supervision, optimizer, steps, seed, .. } = *context;
        Self { supervision, optimizer, steps, seed }
    }
}

/// A trained tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the adapter file, such as `layer.3.down`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts.
    start: Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Zero,
    One,
    /// Uniform with mean 0 and one over this as its variance.
    Spread(usize),
}

impl Parameter {
    fn new(name: String, shape: &[usize], start: Start) -> Self {
        Self { name, shape: shape.to_vec(), start }
    }

    /// How many numbers it has; `None` if that does not fit a machine word.
    pub fn size(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
    }

    /// Whether weight decay applies: to matrices only.
    pub fn decays(&self) -> bool {
        self.shape.len() == 2
    }
}

impl Blueprint {
    /// The blueprint of `architecture` for `context`.
    pub(crate) fn new(architecture: Architecture, context: &SideNetworkContext) -> Self {
        Self {
            architecture,
            taps: context.taps.clone(),
            hidden: context.hidden,
            pooling: context.pooling,
            objective: context.objective,
            bundle: context.bundle,
        }
    }

    /// Everything that is wrong with it.
    pub(crate) fn check(&self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let mut problem = |message: String| problems.push(Diagnostic::new("", message));
        if self.taps.is_empty() {
            problem("no layer is tapped; tap at least one".to_owned());
        }
        if !self.taps.is_sorted_by(|a, b| a < b) {
            problem(format!("the tapped layers {:?} are not ascending", self.taps));
        }
        if self.hidden == 0 {
            problem("a hidden state has no values".to_owned());
        }
        if matches!(self.objective, Objective::Classification { classes: 0 | 1 }) {
            problem("there must be two classes or more".to_owned());
        }
        if self.size().is_none() {
            problem("the network is too large for this machine".to_owned());
        }
        self.architecture.check_options().into_iter().chain(problems).collect()
    }

    /// All trained tensors, in the one order that everybody uses.
    ///
    /// Per tapped layer `l`: `layer.l.norm.gain` and `layer.l.norm.bias` `[hidden]`, `layer.l.down`
    /// `[hidden, rank]`, `layer.l.up` `[rank, hidden]`; then `gates` `[taps - 1]` (the first adapter
    /// has no predecessor), `head.weight` `[hidden, outputs]` and `head.bias` `[outputs]`.
    pub fn parameters(&self) -> Vec<Parameter> {
        let rank = self.architecture.bottleneck().rank;
        let (hidden, outputs) = (self.hidden, self.objective.outputs());
        let mut parameters = Vec::new();
        for layer in &self.taps {
            let mut add = |name: &str, shape: &[usize], start| {
                parameters.push(Parameter::new(format!("layer.{layer}.{name}"), shape, start));
            };
            add("norm.gain", &[hidden], Start::One);
            add("norm.bias", &[hidden], Start::Zero);
            add("down", &[hidden, rank], Start::Spread(hidden));
            add("up", &[rank, hidden], Start::Zero);
        }
        let mut add = |name: &str, shape: &[usize]| {
            parameters.push(Parameter::new(name.to_owned(), shape, Start::Zero));
        };
        add("gates", &[self.taps.len().saturating_sub(1)]);
        add("head.weight", &[hidden, outputs]);
        add("head.bias", &[outputs]);
        parameters
    }

    /// `values`, one per parameter, by place: `[gain, bias, down, up]` of each adapter, then
    /// `[gates, head weight, head bias]`.
    ///
    /// # Panics
    /// If there is not one per parameter.
    pub fn by_place<'a, T>(&self, values: &'a [T]) -> (&'a [[T; 4]], &'a [T; 3]) {
        let (adapters, rest) = values.as_chunks();
        #[expect(clippy::expect_used, reason = "the caller's promise, documented")]
        let rest = rest.try_into().expect("one value per parameter");
        (adapters, rest)
    }

    /// How many numbers are trained; `None` if that does not fit a machine word.
    pub fn size(&self) -> Option<usize> {
        self.parameters()
            .iter()
            .try_fold(0_usize, |sum, parameter| sum.checked_add(parameter.size()?))
    }

    /// The initial weights, a function of `seed` alone: no engine has a say in them.
    ///
    /// Uniform rather than normal numbers: they need no logarithm, whose last bit differs between
    /// platforms.
    pub fn initial(&self, seed: u64) -> Weights {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let value = |start, rng: &mut ChaCha12Rng| match start {
            Start::Zero => 0.0,
            Start::One => 1.0,
            Start::Spread(reciprocal) => {
                let unit = (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
                unit * (3.0 / reciprocal as f32).sqrt()
            }
        };
        let fill = |parameter: &Parameter| {
            let count = parameter.shape.iter().product();
            (0..count).map(|_| value(parameter.start, &mut rng)).collect()
        };
        self.parameters().iter().map(fill).collect()
    }

    /// What `engine` says about itself when it runs this.
    pub fn info(&self, engine: &'static str) -> SideNetworkInfo {
        SideNetworkInfo {
            engine,
            architecture: self.architecture.name().to_owned(),
            parameters: self.size().unwrap_or(usize::MAX),
            taps: self.taps.clone(),
            hidden: self.hidden,
            objective: self.objective,
            bundle: self.bundle,
            additive: self.architecture.is_additive(),
        }
    }
}

/// The first of `found`, as an error.
pub(crate) fn ensure(found: Vec<Diagnostic>) -> Result<(), SideNetworkError> {
    match found.into_iter().next() {
        Some(found) => Err(SideNetworkError::Adapter {
            problem: found.to_string().trim_start_matches(": ").to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::architecture::{Activation, Bottleneck};

    /// For `parallel-adapter` and three classes.
    pub(crate) fn context() -> SideNetworkContext {
        let Blueprint { taps, hidden, pooling, objective, bundle, .. } = blueprint();
        SideNetworkContext {
            taps,
            hidden,
            pooling,
            objective,
            supervision: SupervisionKind::Truth,
            optimizer: Optimizer::default(),
            steps: 100,
            seed: 1,
            bundle,
        }
    }

    pub(crate) fn blueprint() -> Blueprint {
        Blueprint {
            architecture: Architecture::ParallelAdapter(Bottleneck {
                rank: 4,
                activation: Activation::Gelu,
            }),
            taps: vec![2, 5],
            hidden: 8,
            pooling: Pooling::Mean,
            objective: Objective::Classification { classes: 3 },
            bundle: Fingerprint::of(b"bundle"),
        }
    }

    #[test]
    fn names_and_shapes_are_what_the_format_says() {
        let named: Vec<_> =
            blueprint().parameters().into_iter().map(|p| (p.name, p.shape)).collect();
        let expected = [
            ("layer.2.norm.gain", vec![8]),
            ("layer.2.norm.bias", vec![8]),
            ("layer.2.down", vec![8, 4]),
            ("layer.2.up", vec![4, 8]),
            ("layer.5.norm.gain", vec![8]),
            ("layer.5.norm.bias", vec![8]),
            ("layer.5.down", vec![8, 4]),
            ("layer.5.up", vec![4, 8]),
            ("gates", vec![1]),
            ("head.weight", vec![8, 3]),
            ("head.bias", vec![3]),
        ];
        assert_eq!(named, expected.map(|(name, shape)| (name.to_owned(), shape)));
        assert_eq!(blueprint().size(), Some(2 * (16 + 64) + 1 + 27));
    }

    #[test]
    fn initial_weights_follow_the_seed_and_have_the_right_spread() {
        let wide = Blueprint { hidden: 400, ..blueprint() };
        let weights = wide.initial(7);
        assert_eq!(weights, wide.initial(7));
        assert_ne!(weights[2], wide.initial(8)[2]);
        let down = &weights[2];
        let mean = down.iter().sum::<f32>() / down.len() as f32;
        let variance = down.iter().map(|value| value * value).sum::<f32>() / down.len() as f32;
        assert!(mean.abs() < 5e-3 && (variance * 400.0 - 1.0).abs() < 0.1, "{mean} {variance}");
        assert!(weights[3].iter().chain(&weights[9]).all(|&value| value == 0.0));
    }

    #[test]
    fn what_cannot_be_built_is_found() {
        let wrong = |change: fn(&mut Blueprint), expected: &str| {
            let mut blueprint = blueprint();
            change(&mut blueprint);
            let error = ensure(blueprint.check()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        wrong(|b| b.taps.clear(), "adapter: no layer is tapped");
        wrong(|b| b.taps = vec![3, 3], "not ascending");
        wrong(|b| b.hidden = 0, "no values");
        wrong(|b| b.hidden = usize::MAX / 2, "too large");
        wrong(|b| b.objective = Objective::Classification { classes: 1 }, "two classes");
        assert!(blueprint().check().is_empty());
    }
}
