//! Which network it is.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{SideNetworkContext, SideNetworkError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blueprint::{Blueprint, Training, ensure};
use crate::network::{Bottleneck, Network, Projection};

/// Which network is trained, and on what.
///
/// There are two networks. Of both, with `A_t` the rows of tap t, `d` wide, `norm` is a LayerNorm, for
/// hidden states grow a hundredfold over depth, and `head` starts at zero, so that the first output is
/// exactly zero.
///
/// The adapters of `parallel-adapter` and `additive-adapter` are a chain, one beside each tapped layer,
/// joined by learned gates; tokens do not mix (PAE MobiLLM, arXiv 2507.01216):
///
/// ```text
/// S_1 = norm_1(A_1)      S_t = (1 - mu_t) norm_t(A_t) + mu_t h_(t-1)      mu_t = sigmoid(gates_t)
/// h_t = S_t + act(S_t down_t) up_t                down_t [d, rank]        up_t [rank, d]
/// output = pool(h_T) head + bias                  head [d, outputs]
/// ```
///
/// `norm_t` has gain and bias; `up` starts at zero.
///
/// `parallel-pooling` and `additive-pooling` project all taps of a token to one width and pool the tokens
/// there; so all tokens enter the output, whatever the backbone's own pooling takes:
///
/// ```text
/// z = norm(sum over t of norm_t(A_t) project_t + bias)                    project_t [d, width]
/// output = [max(z), pool(z)] head + head bias     head [2 width, outputs]
/// ```
///
/// `norm_t` has neither gain nor bias, `norm` has both; `max` is taken over all rows of a sample, channel
/// by channel, and `pool` is the backbone's own pooling. The tap's norm bounds the rows of first tokens,
/// which in decoders are a hundred times as long as others. There is little to learn, which is what few
/// rows to train on need: wider or deeper networks were no better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Architecture {
    /// MobiLLM: its output is the answer; it is trained on the truth.
    ///
    /// The loss is the mean over the samples of, for classes, `-log softmax(output)[truth]`, and for a
    /// regression `(output - truth)^2`.
    ParallelAdapter(Bottleneck),
    /// PAE MobiLLM: the device adds its output to its own prediction; so it starts as the backbone.
    ///
    /// With `own` the device's own prediction, the loss is the mean over the samples of
    ///
    /// ```text
    /// sum over the outputs of (output - difference)^2         difference = truth - own
    /// -log softmax(own + output)[truth]                       own: logits
    /// ```
    ///
    /// The first where the policy sends the difference: of one-hot class and own probabilities, or of
    /// the scaled target of a regression and its prediction, where it is the squared error of
    /// `own + output`. The second where the policy sends the class and the own logits.
    AdditiveAdapter(Bottleneck),
    /// Pooling over tokens that answers alone, as `parallel-adapter` does.
    ParallelPooling(Projection),
    /// Pooling over tokens that is added to the device's own prediction, as `additive-adapter` is.
    AdditivePooling(Projection),
}

impl Default for Architecture {
    fn default() -> Self {
        Self::ParallelAdapter(Bottleneck::default())
    }
}

impl Architecture {
    /// Its name, as in a config's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ParallelAdapter(_) => "parallel-adapter",
            Self::AdditiveAdapter(_) => "additive-adapter",
            Self::ParallelPooling(_) => "parallel-pooling",
            Self::AdditivePooling(_) => "additive-pooling",
        }
    }

    /// What is computed.
    pub fn network(&self) -> Network {
        match self {
            Self::ParallelAdapter(options) | Self::AdditiveAdapter(options) => {
                Network::AdapterChain(*options)
            }
            Self::ParallelPooling(options) | Self::AdditivePooling(options) => {
                Network::TokenPooling(*options)
            }
        }
    }

    /// Whether the device adds the output to its own prediction.
    pub fn is_additive(&self) -> bool {
        matches!(self, Self::AdditiveAdapter(_) | Self::AdditivePooling(_))
    }

    /// The name of the same network that is added, or that answers alone.
    fn counterpart(&self) -> &'static str {
        match self {
            Self::ParallelAdapter(_) => "additive-adapter",
            Self::AdditiveAdapter(_) => "parallel-adapter",
            Self::ParallelPooling(_) => "additive-pooling",
            Self::AdditivePooling(_) => "parallel-pooling",
        }
    }

    /// Everything that is wrong with it for `context`: for a config's `check`.
    pub fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        let mut found = Blueprint::new(*self, context).check();
        found.extend(self.clash(context));
        found
    }

    /// The network for `context`, and how it is trained.
    ///
    /// # Errors
    /// If [`check`](Self::check) finds something.
    pub fn plan(
        &self,
        context: &SideNetworkContext,
    ) -> Result<(Blueprint, Training), SideNetworkError> {
        ensure(self.check(context))?;
        Ok((Blueprint::new(*self, context), Training::new(context)))
    }

    /// Why it cannot be trained on what the privacy policy sends.
    fn clash(&self, context: &SideNetworkContext) -> Option<Diagnostic> {
        const LABELS: &str = "`privacy = { type = \"labels\" }`";
        const DIFFERENCE: &str = "`privacy = { type = \"prediction-difference\" }`";
        const WITH_OWN: &str = "`privacy = { type = \"labels\", own_prediction = true }`";
        let SideNetworkContext { supervision, objective, .. } = context;
        let classes = matches!(objective, Objective::Classification { .. });
        let other = format!("`architecture = {{ type = \"{}\" }}`", self.counterpart());
        let (problem, help) = match (self.is_additive(), supervision) {
            (false, SupervisionKind::Truth) | (true, SupervisionKind::Difference) => return None,
            (true, SupervisionKind::TruthAndOwn) if classes => return None,
            (true, SupervisionKind::TruthAndOwn) => (
                "with truth and own prediction it is trained by cross-entropy, and a regression has \
                 no classes"
                    .to_owned(),
                format!("use {DIFFERENCE}, which for a regression is the squared error"),
            ),
            (false, _) => (
                format!("it is trained on the truth, but the privacy policy sends the {supervision}"),
                format!("use {other}, or {LABELS}"),
            ),
            (true, _) => (
                format!(
                    "it is added to the device's own prediction, but the privacy policy sends the \
                     {supervision} alone"
                ),
                format!("use {DIFFERENCE} or {WITH_OWN}, or {other}"),
            ),
        };
        let problem = format!("`{}` does not fit: {problem}", self.name());
        Some(Diagnostic::new("architecture.type", problem).help(help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::context;
    use crate::network::{Activation, MAX_WIDTH};

    const NAMES: [&str; 4] =
        ["parallel-adapter", "additive-adapter", "parallel-pooling", "additive-pooling"];

    fn additive(rank: usize) -> Architecture {
        Architecture::AdditiveAdapter(Bottleneck { rank, activation: Activation::Gelu })
    }

    fn pooling(width: usize) -> Architecture {
        Architecture::AdditivePooling(Projection { width })
    }

    #[test]
    fn options_have_defaults_and_unknown_ones_are_refused() {
        let parse = serde_json::from_str::<Architecture>;
        assert_eq!(parse(r#"{"type":"parallel-adapter"}"#).unwrap(), Architecture::default());
        let small = parse(r#"{"type":"parallel-adapter","rank":8,"activation":"relu"}"#).unwrap();
        let expected = Bottleneck { rank: 8, activation: Activation::Relu };
        assert_eq!(small, Architecture::ParallelAdapter(expected));
        assert_eq!(parse(r#"{"type":"additive-adapter","rank":8}"#).unwrap(), additive(8));
        assert_eq!(parse(r#"{"type":"additive-pooling"}"#).unwrap(), pooling(64));
        assert_eq!(parse(r#"{"type":"additive-pooling","width":8}"#).unwrap(), pooling(8));
        for name in NAMES {
            let typo = serde_json::json!({ "type": name, "rnk": 8 });
            assert!(serde_json::from_value::<Architecture>(typo).is_err());
        }
        assert!(parse(r#"{"type":"ladder"}"#).is_err());
    }

    #[test]
    fn it_is_written_with_its_name() {
        let alone = Architecture::ParallelPooling(Projection { width: 8 });
        let all = [Architecture::default(), additive(8), alone, pooling(8)];
        for (architecture, name) in all.into_iter().zip(NAMES) {
            let written = serde_json::to_value(architecture).unwrap();
            assert_eq!(architecture.name(), name);
            assert_eq!(architecture.is_additive(), name.starts_with("additive"));
            assert_eq!(written["type"], architecture.name());
            assert_eq!(serde_json::from_value::<Architecture>(written).unwrap(), architecture);
        }
    }

    #[test]
    fn the_schema_tells_the_options_of_each() {
        let schema = serde_json::to_value(schemars::schema_for!(Architecture)).unwrap();
        for (at, name) in NAMES.into_iter().enumerate() {
            let one = &schema["oneOf"][at];
            assert_eq!(one["properties"]["type"]["const"], name);
            let option = if name.ends_with("adapter") { "rank" } else { "width" };
            let size = &one["properties"][option];
            assert_eq!((&size["maximum"], &size["default"]), (&MAX_WIDTH.into(), &64.into()));
            assert_eq!(one["additionalProperties"], false);
            assert_eq!(one["required"], serde_json::json!(["type"]));
        }
    }

    #[test]
    fn a_rank_or_width_out_of_range_is_found() {
        let context = SideNetworkContext { supervision: SupervisionKind::Difference, ..context() };
        for bad in [0, MAX_WIDTH + 1] {
            assert_eq!(additive(bad).check(&context)[0].path, "architecture.rank");
            assert_eq!(pooling(bad).check(&context)[0].path, "architecture.width");
            assert!(additive(bad).plan(&context).is_err());
            assert!(pooling(bad).plan(&context).is_err());
        }
        for good in [1, MAX_WIDTH] {
            assert!(additive(good).check(&context).is_empty());
            assert!(pooling(good).check(&context).is_empty());
        }
    }

    #[test]
    fn what_the_policy_sends_decides_which_network_fits() {
        use SupervisionKind::{Difference, Truth, TruthAndOwn};
        let classes = Objective::Classification { classes: 3 };
        let parallel = Architecture::default();
        let alone = Architecture::ParallelPooling(Projection { width: 4 });
        let cases = [
            (parallel, classes, Truth, None),
            (parallel, Objective::Regression, Truth, None),
            (parallel, classes, Difference, Some("type = \"additive-adapter\"")),
            (parallel, classes, TruthAndOwn, Some("type = \"additive-adapter\"")),
            (additive(4), classes, Truth, Some("own_prediction = true")),
            (additive(4), Objective::Regression, Truth, Some("prediction-difference")),
            (additive(4), classes, Difference, None),
            (additive(4), Objective::Regression, Difference, None),
            (additive(4), classes, TruthAndOwn, None),
            (additive(4), Objective::Regression, TruthAndOwn, Some("prediction-difference")),
            (alone, classes, Truth, None),
            (alone, classes, Difference, Some("type = \"additive-pooling\"")),
            (pooling(4), classes, TruthAndOwn, None),
            (pooling(4), classes, Truth, Some("type = \"parallel-pooling\"")),
        ];
        for (architecture, objective, supervision, help) in cases {
            let context = SideNetworkContext { objective, supervision, ..context() };
            let found = architecture.check(&context);
            let told = found.first().and_then(|found| found.help.as_deref());
            assert_eq!(found.len(), usize::from(help.is_some()), "{found:?}");
            assert!(told.zip(help).is_none_or(|(told, help)| told.contains(help)), "{found:?}");
            assert!(found.iter().all(|found| found.path == "architecture.type"));
            assert_eq!(architecture.plan(&context).is_ok(), help.is_none());
        }
    }

    #[test]
    fn a_clash_names_both_sides_and_the_way_out() {
        let found = additive(4).check(&context());
        assert_eq!(
            found[0].to_string(),
            "architecture.type: `additive-adapter` does not fit: it is added to the device's own \
             prediction, but the privacy policy sends the truth alone; use `privacy = { type = \
             \"prediction-difference\" }` or `privacy = { type = \"labels\", own_prediction = true }`, \
             or `architecture = { type = \"parallel-adapter\" }`"
        );
    }
}
