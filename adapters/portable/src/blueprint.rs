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
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::parameter::Parameter;

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
        self.architecture.network().check_options().into_iter().chain(problems).collect()
    }

    /// All trained tensors, in the one order that everybody uses.
    ///
    /// Of a chain of adapters, per tapped layer `l`: `layer.l.norm.gain` and `layer.l.norm.bias`
    /// `[hidden]`, `layer.l.down` `[hidden, rank]`, `layer.l.up` `[rank, hidden]`; then `gates`
    /// `[taps - 1]` (the first adapter has no predecessor), `head.weight` `[hidden, outputs]` and
    /// `head.bias` `[outputs]`.
    ///
    /// Of pooling over tokens, per tapped layer `l`: `layer.l.project` `[hidden, width]`; then `bias`,
    /// `norm.gain` and `norm.bias` `[width]`, `head.weight` `[2 width, outputs]`, of which the upper half
    /// is for the maxima, and `head.bias` `[outputs]`.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.architecture.network().parameters(self)
    }

    /// `values`, one per parameter of a chain of adapters, by place: `[gain, bias, down, up]` of each
    /// adapter, then `[gates, head weight, head bias]`.
    ///
    /// # Panics
    /// If there is not one per parameter.
    pub fn chain_places<'a, T>(&self, values: &'a [T]) -> (&'a [[T; 4]], &'a [T; 3]) {
        let (adapters, rest) = values.as_chunks();
        #[expect(clippy::expect_used, reason = "the caller's promise, documented")]
        let rest = rest.try_into().expect("one value per parameter");
        (adapters, rest)
    }

    /// `values`, one per parameter of pooling over tokens, by place: the projection of each tap, then
    /// `[bias, gain, norm bias, head weight, head bias]`.
    ///
    /// # Panics
    /// If there is not one per parameter.
    pub fn pooling_places<'a, T>(&self, values: &'a [T]) -> (&'a [T], &'a [T; 5]) {
        #[expect(clippy::expect_used, reason = "the caller's promise, documented")]
        values.split_last_chunk().expect("one value per parameter")
    }

    /// How many numbers are trained; `None` if that does not fit a machine word.
    pub fn size(&self) -> Option<usize> {
        self.parameters()
            .iter()
            .try_fold(0_usize, |sum, parameter| sum.checked_add(parameter.size()?))
    }

    /// The initial weights, a function of `seed` alone: no engine has a say in them.
    pub fn initial(&self, seed: u64) -> Weights {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        self.parameters().iter().map(|parameter| parameter.initial(&mut rng)).collect()
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
    use crate::network::{Activation, Bottleneck, Projection};

    pub(crate) const BOTTLENECK: Bottleneck = Bottleneck { rank: 4, activation: Activation::Gelu };

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
            architecture: Architecture::ParallelAdapter(BOTTLENECK),
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
    fn pooling_over_tokens_has_its_own_tensors() {
        let architecture = Architecture::ParallelPooling(Projection { width: 4 });
        let blueprint = Blueprint { architecture, ..blueprint() };
        let named: Vec<_> = blueprint.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
        let expected = [
            ("layer.2.project", vec![8, 4]),
            ("layer.5.project", vec![8, 4]),
            ("bias", vec![4]),
            ("norm.gain", vec![4]),
            ("norm.bias", vec![4]),
            ("head.weight", vec![8, 3]),
            ("head.bias", vec![3]),
        ];
        assert_eq!(named, expected.map(|(name, shape)| (name.to_owned(), shape)));
        let (projections, rest) = blueprint.pooling_places(&named);
        assert_eq!((projections, &rest[..]), (&named[..2], &named[2..]));
        let wide = Blueprint { hidden: 1 << 14, ..blueprint };
        let variance = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>() / 4.0;
        let projected: f32 = wide.initial(7)[..2].iter().map(|values| variance(values)).sum();
        assert!((projected - 1.0).abs() < 0.01, "of a row of ones: {projected}");
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
