//! Everything that is wrong with a config at once: by itself, for the model and for the data that it names.
//!
//! What is wrong with one part keeps no other from being checked: of a model that is not there the data is read, and
//! of a config with a mistake what is sound is held against both.

mod model;

use mobillm_core::backbone::BackboneConfig;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::PrivacyPolicyConfig;
use mobillm_core::quantizer::QuantizerConfig;
use mobillm_core::selector::SelectorConfig;
use mobillm_core::side_network::{Optimizer, SideNetworkConfig};
use mobillm_core::transport::TransportConfig;
use mobillm_store::StoreConfig;
use mobillm_task::{Dataset, TaskConfig, dataset};

use crate::config::{Draft, Loaded, Origin};
use crate::environment::Environment;
use crate::error::RunError;

use model::Parts;
pub(crate) use model::{Model, model};

/// The config `draft`, if nothing is wrong with it by itself.
///
/// # Errors
/// With everything that is, and with what is wrong with the rest of it for its model and its data.
pub fn sound(draft: Draft, environment: &Environment) -> Result<Loaded, RunError> {
    if draft.is_sound() {
        return Ok(draft.finish()?);
    }
    let mut wrong = Vec::new();
    let task: Option<TaskConfig> = draft.part("task", &mut wrong);
    let bundle: Option<String> = draft.part("device.bundle", &mut wrong);
    let max_tokens: Option<Option<usize>> = draft.part("device.max_tokens", &mut wrong);
    let own_prediction: Option<Option<_>> = draft.part("device.own_prediction", &mut wrong);
    let backbone: Option<Box<dyn BackboneConfig>> = draft.part("device.backbone", &mut wrong);
    let selector: Option<Box<dyn SelectorConfig>> = draft.part("device.selector", &mut wrong);
    let privacy: Option<Box<dyn PrivacyPolicyConfig>> = draft.part("device.privacy", &mut wrong);
    let quantizer: Option<Box<dyn QuantizerConfig>> = draft.part("device.quantizer", &mut wrong);
    let transport: Option<Box<dyn TransportConfig>> = draft.part("link.transport", &mut wrong);
    let side_network: Option<Box<dyn SideNetworkConfig>> =
        draft.part("server.side_network", &mut wrong);
    let store: Option<Option<StoreConfig>> = draft.part("server.store", &mut wrong);
    let optimizer: Option<Option<Optimizer>> = draft.part("training.optimizer", &mut wrong);
    let seed: Option<Option<u64>> = draft.part("training.seed", &mut wrong);
    let store = store.map(Option::unwrap_or_default);
    let parts = Parts {
        task: task.as_ref(),
        bundle: bundle.is_some(),
        max_tokens: max_tokens.flatten(),
        own_prediction: own_prediction.map(Option::unwrap_or_default),
        backbone: backbone.as_deref(),
        selector: selector.as_deref(),
        privacy: privacy.as_deref(),
        quantizer: quantizer.as_deref(),
        transport: transport.as_deref(),
        side_network: side_network.as_deref(),
        store: store.as_ref(),
        optimizer: optimizer.map(Option::unwrap_or_default),
        seed: seed.map(Option::unwrap_or_default),
    };
    let mut findings = Findings::default();
    findings.take(model(&parts, &draft.origin, environment));
    if let Some(task) = parts.task {
        findings.take(data(task, &draft.origin, environment));
    }
    wrong.extend(findings.0.into_iter().flat_map(Finding::diagnostics));
    Err(draft.errors(wrong).into())
}

/// Something that is wrong.
pub(crate) enum Finding {
    /// At a key path of the config.
    Config(Diagnostic),
    /// With the file that this key names.
    File(&'static str, RunError),
}

impl Finding {
    fn diagnostics(self) -> Vec<Diagnostic> {
        match self {
            Self::Config(diagnostic) => vec![diagnostic],
            Self::File(_, RunError::Config(errors)) => {
                errors.mistakes().iter().map(|mistake| mistake.diagnostic.clone()).collect()
            }
            Self::File(key, error) => vec![Diagnostic::new(key, error.to_string())],
        }
    }
}

/// Everything that was found so far.
#[derive(Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds what is wrong at `key`. Whether nothing is.
    fn none(&mut self, key: &str, found: Vec<Diagnostic>) -> bool {
        let is_sound = found.is_empty();
        self.0.extend(found.into_iter().map(|finding| Finding::Config(finding.under(key))));
        is_sound
    }

    /// What the file that `key` names gave.
    fn file<T>(&mut self, key: &'static str, result: Result<T, RunError>) -> Option<T> {
        result.map_err(|error| self.0.push(Finding::File(key, error))).ok()
    }

    /// What a check gave.
    fn take<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|mut found| self.0.append(&mut found.0)).ok()
    }

    /// As an error of the config from `origin`. A single file that cannot be used is told as it is.
    pub(crate) fn into_error(mut self, origin: &Origin) -> RunError {
        match self.0.pop() {
            Some(Finding::File(_, error)) if self.0.is_empty() => error,
            last => {
                let all = self.0.into_iter().chain(last);
                origin.errors(all.flat_map(Finding::diagnostics)).into()
            }
        }
    }
}

/// Both, or what is wrong with either.
pub(crate) fn both<A, B>(
    one: Result<A, Findings>,
    other: Result<B, Findings>,
) -> Result<(A, B), Findings> {
    let mut found = Findings::default();
    match (found.take(one), found.take(other)) {
        (Some(one), Some(other)) => Ok((one, other)),
        _ => Err(found),
    }
}

/// The rows of `task`.
pub(crate) fn data(
    task: &TaskConfig,
    origin: &Origin,
    environment: &Environment,
) -> Result<Dataset, Findings> {
    const KEYS: [&str; 2] = ["task.train", "task.held_out"];
    let mut found = Findings::default();
    let train = found.file(KEYS[0], environment.required(origin, KEYS[0], "the data"));
    let held_out = found.file(KEYS[1], environment.locate(origin, KEYS[1], "the data"));
    let whole = match (&train, &held_out) {
        (Some(train), Some(held_out)) => match dataset::load(task, train, held_out.as_deref()) {
            Ok(dataset) => return Ok(dataset),
            Err(error) => Some(error),
        },
        _ => None,
    };
    for (key, path) in KEYS.into_iter().zip([train, held_out.flatten()]) {
        if let Some(path) = path {
            found.file(key, dataset::load_rows(task, &path).map_err(RunError::from));
        }
    }
    // Each file by itself may be right.
    if let (true, Some(error)) = (found.0.is_empty(), whole) {
        found.0.push(Finding::File(KEYS[0], error.into()));
    }
    Err(found)
}
