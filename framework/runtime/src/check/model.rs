//! What only the model of a config shows to be wrong with it.

use mobillm_bundle::{Bundle, BundleError, BundleTokenizer};
use mobillm_core::backbone::{BackboneConfig, BackboneInfo};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{PolicyInfo, PrivacyPolicyConfig};
use mobillm_core::quantizer::QuantizerConfig;
use mobillm_core::sample::Objective;
use mobillm_core::selector::{Selector, SelectorConfig};
use mobillm_core::side_network::{Optimizer, SideNetworkConfig, SideNetworkContext};
use mobillm_core::transport::TransportConfig;
use mobillm_store::StoreConfig;
use mobillm_task::TaskConfig;

use super::Findings;
use crate::config::{Config, Origin, OwnPrediction};
use crate::environment::Environment;
use crate::error::RunError;

/// What of a config can be held against its model: all of it, or what is sound.
pub(crate) struct Parts<'a> {
    pub task: Option<&'a TaskConfig>,
    /// Whether it names a model.
    pub bundle: bool,
    pub max_tokens: Option<usize>,
    pub own_prediction: Option<OwnPrediction>,
    pub backbone: Option<&'a dyn BackboneConfig>,
    pub selector: Option<&'a dyn SelectorConfig>,
    pub privacy: Option<&'a dyn PrivacyPolicyConfig>,
    pub quantizer: Option<&'a dyn QuantizerConfig>,
    pub transport: Option<&'a dyn TransportConfig>,
    pub side_network: Option<&'a dyn SideNetworkConfig>,
    pub store: Option<&'a StoreConfig>,
    pub optimizer: Option<Optimizer>,
    pub seed: Option<u64>,
}

impl<'a> From<&'a Config> for Parts<'a> {
    fn from(config: &'a Config) -> Self {
        let Config { task, device, link, server, training, .. } = config;
        Self {
            task: Some(task),
            bundle: true,
            max_tokens: device.max_tokens,
            own_prediction: Some(device.own_prediction),
            backbone: Some(&*device.backbone),
            selector: Some(&*device.selector),
            privacy: Some(&*device.privacy),
            quantizer: Some(&*device.quantizer),
            transport: Some(&*link.transport),
            side_network: Some(&*server.side_network),
            store: Some(&server.store),
            optimizer: Some(training.optimizer),
            seed: Some(training.seed),
        }
    }
}

/// What a config amounts to for its model.
pub(crate) struct Model {
    pub bundle: Bundle,
    /// Its dimensions, as the config wants them.
    pub info: BackboneInfo,
    pub label_tokens: Vec<u32>,
    pub selector: Box<dyn Selector>,
    pub policy: PolicyInfo,
    pub context: SideNetworkContext,
}

/// Holds `parts` against the model that the config from `origin` names. What cannot be built is not asked for its layers
/// or its supervision, and nobody who needs these is checked.
///
/// # Errors
/// With everything that is wrong; with nothing, if all is right that there is and there is not all.
pub(crate) fn model(
    parts: &Parts<'_>,
    origin: &Origin,
    environment: &Environment,
) -> Result<Model, Findings> {
    let mut found = Findings::default();
    let bundle = match parts.bundle {
        true => found.file("device.bundle", open(origin, environment)),
        false => None,
    };
    let tokenizer =
        bundle.as_ref().and_then(|bundle| tokenizer(bundle, parts.max_tokens, &mut found));
    if let (Some(tokenizer), Some(task)) = (&tokenizer, parts.task) {
        found.file("task.prompt.template", check_room(tokenizer, task));
    }
    let label_tokens = bundle.as_ref().zip(tokenizer.as_ref()).and_then(|(bundle, tokenizer)| {
        found.take(label_tokens(bundle, tokenizer, parts.task?, parts.own_prediction?))
    });
    let info = bundle.as_ref().map(|bundle| {
        let mut info = bundle.info().clone();
        if let Some(tokens) = label_tokens.as_ref().filter(|tokens| !tokens.is_empty()) {
            info.own_outputs = Some(tokens.len());
        }
        info.max_tokens = parts.max_tokens.map_or(info.max_tokens, |n| n.min(info.max_tokens));
        info
    });
    let objective = parts.task.map(TaskConfig::objective);
    let selector = parts.selector.zip(info.as_ref()).and_then(|(config, info)| {
        found.passes("device.selector", config.check(info)).then(|| config.build(info))
    });
    let policy = parts.privacy.zip(objective).and_then(|(config, objective)| {
        let is_sound = found.passes("device.privacy", config.check(&objective));
        is_sound.then(|| config.build(&objective).info())
    });
    if policy.as_ref().is_some_and(|policy| policy.supervision.is_none()) {
        let problem = Diagnostic::new("", "the policy releases no supervision");
        found.add("device.privacy", [problem.expected("one that does, such as `labels`")]);
    }
    let context = context(parts, info.as_ref(), selector.as_deref(), policy.as_ref());
    if let (Some(bundle), Some(info)) = (&bundle, &info) {
        check_dimensions(parts, bundle, info, label_tokens.is_some(), &mut found);
    }
    if let Some(transport) = parts.transport {
        found.add("link.transport", transport.check());
    }
    if let (Some(network), Some(context)) = (parts.side_network, &context) {
        found.add("server.side_network", network.check(context));
    }
    if let (Some(store), Some(selector)) = (parts.store, &selector)
        && store.caches()
        && !selector.is_fixed()
    {
        found.add("server.store", changing());
    }
    match (bundle, info, label_tokens, selector, policy, context) {
        (
            Some(bundle),
            Some(info),
            Some(label_tokens),
            Some(selector),
            Some(policy),
            Some(context),
        ) if found.0.is_empty() => {
            Ok(Model { bundle, info, label_tokens, selector, policy, context })
        }
        _ => Err(found),
    }
}

fn open(origin: &Origin, environment: &Environment) -> Result<Bundle, RunError> {
    Ok(Bundle::open(&environment.required(origin, "device.bundle", "the model")?)?)
}

/// The tokenizer of `bundle` whose samples have at most `max_tokens`, or without that limit if these are too few.
fn tokenizer(
    bundle: &Bundle,
    max_tokens: Option<usize>,
    found: &mut Findings,
) -> Option<BundleTokenizer> {
    let tokenizer = match bundle.tokenizer(max_tokens) {
        Err(error @ BundleError::NoRoom { .. }) if max_tokens.is_some() => {
            found.file::<()>("device.max_tokens", Err(error.into()));
            bundle.tokenizer(None)
        }
        tokenizer => tokenizer,
    };
    found.file("device.bundle", tokenizer.map_err(RunError::from))
}

/// Whether the template of `task`, if it has one, leaves room for a text.
fn check_room(tokenizer: &BundleTokenizer, task: &TaskConfig) -> Result<(), RunError> {
    // Hardly any text has fewer tokens.
    const SHORT: &str = "a";
    let Some(prompt) = &task.prompt else { return Ok(()) };
    let template = prompt.template().map_err(RunError::Template)?;
    let prompt = template.fill(SHORT, task.columns.pair.is_some().then_some(SHORT));
    tokenizer.encode_prompt(&prompt.text, &prompt.inserted)?;
    Ok(())
}

/// What the side network is built from, if all that it follows from is known.
fn context(
    parts: &Parts<'_>,
    info: Option<&BackboneInfo>,
    selector: Option<&dyn Selector>,
    policy: Option<&PolicyInfo>,
) -> Option<SideNetworkContext> {
    let info = info?;
    Some(SideNetworkContext {
        taps: selector?.layers(info),
        hidden: info.hidden,
        pooling: info.pooling,
        objective: parts.task?.objective(),
        supervision: policy?.supervision?,
        optimizer: parts.optimizer?,
        steps: 0,
        seed: parts.seed?,
        bundle: info.bundle,
    })
}

/// Checks what needs only the model's dimensions. Those of its head may not be known.
fn check_dimensions(
    parts: &Parts<'_>,
    bundle: &Bundle,
    info: &BackboneInfo,
    is_head_known: bool,
    found: &mut Findings,
) {
    if let Some(backbone) = parts.backbone {
        found.add("device.backbone", backbone.check(info));
    }
    if let Some(quantizer) = parts.quantizer {
        found.add("device.quantizer", quantizer.check(info.hidden));
    }
    if let (Some(task), Some(own)) = (parts.task, parts.own_prediction) {
        if is_head_known {
            found.add("device.own_prediction", check_head(own, info, &task.objective()));
        }
        found.add("task.labels", check_labels(own, bundle.own_labels(), &task.labels));
    }
}

/// The tokens of the task's label words, of which the model's own prediction is to be made.
fn label_tokens(
    bundle: &Bundle,
    tokenizer: &BundleTokenizer,
    task: &TaskConfig,
    own: OwnPrediction,
) -> Result<Vec<u32>, Findings> {
    const KEY: &str = "task.prompt.label_words";
    let (mut tokens, mut found) = (Vec::new(), Findings::default());
    let words = task.prompt.as_ref().map_or(&[][..], |prompt| &prompt.label_words);
    if words.is_empty() || own == OwnPrediction::Prior {
        return Ok(tokens);
    }
    if !bundle.info().language_head {
        let problem = "the model of `device.bundle` does not predict words";
        let help = "remove them, or take a language model with its head, such as \
                    `pull:smollm2-135m-instruct`";
        found.add(KEY, [Diagnostic::new("", problem).help(help)]);
        return Err(found);
    }
    for (at, word) in words.iter().enumerate() {
        let problem = match tokenizer.word(word) {
            Ok(token) if tokens.contains(&token) => {
                Diagnostic::new("", format!("{word:?} is the token of another word"))
            }
            Ok(token) => {
                tokens.push(token);
                continue;
            }
            Err(problem) => {
                let help = "mind the space that most words begin with, as in \" positive\"";
                Diagnostic::new("", problem).expected("one token").help(help)
            }
        };
        found.add(&format!("{KEY}[{at}]"), [problem]);
    }
    if found.0.is_empty() { Ok(tokens) } else { Err(found) }
}

/// Kept samples would be those of the first epoch for ever.
fn changing() -> Vec<Diagnostic> {
    let problem =
        "the selector takes other tokens in every epoch, and a store keeps those of the first";
    let diagnostic = Diagnostic::new("type", problem).expected("`none`");
    vec![diagnostic.help("or a selector whose choice is fixed, such as `loss-tokens`")]
}

fn check_head(own: OwnPrediction, info: &BackboneInfo, objective: &Objective) -> Vec<Diagnostic> {
    let wanted = objective.outputs();
    match info.own_outputs {
        Some(outputs) if own == OwnPrediction::Head && outputs != wanted => {
            let problem = format!("the model's own head has {outputs} outputs, the task {wanted}");
            let diagnostic = Diagnostic::new("", problem).expected("`prior`");
            vec![diagnostic.help("or a model whose head was trained for this task")]
        }
        _ => Vec::new(),
    }
}

/// Labels in another order than the head's outputs would turn its prediction around, and more than the
/// wire can count would be cut.
fn check_labels(
    own: OwnPrediction,
    heads: Option<&[String]>,
    labels: &[String],
) -> Vec<Diagnostic> {
    const MOST: usize = u16::MAX as usize - 1;
    if labels.len() > MOST {
        let problem = Diagnostic::new("", format!("{} labels are too many", labels.len()));
        return vec![problem.expected(format!("at most {MOST}"))];
    }
    let sorted = |labels: &[String]| {
        let mut sorted = labels.to_vec();
        sorted.sort();
        sorted
    };
    match heads {
        Some(heads)
            if own == OwnPrediction::Head && heads != labels && sorted(heads) == sorted(labels) =>
        {
            let problem = Diagnostic::new("", "they are not in the order of the model's own head");
            let help = "or `device.own_prediction = \"prior\"`, which leaves the head alone";
            vec![problem.expected(format!("{heads:?}")).help(help)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use mobillm_bundle::fixture::TinyBert;

    use super::*;

    #[test]
    fn a_limit_without_room_for_a_text_is_told_where_it_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
        let found = |max_tokens| {
            let mut found = Findings::default();
            assert!(tokenizer(&bundle, max_tokens, &mut found).is_some(), "words are still found");
            found.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let told = found(Some(3));
        let start = "device.max_tokens: an empty pair has 3 tokens, but max_tokens is 3";
        assert!(told.len() == 1 && told[0].starts_with(start), "{told:?}");
        assert_eq!([found(Some(4)), found(None)], [const { Vec::<String>::new() }; 2]);
    }
}
