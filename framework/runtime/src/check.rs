//! What is wrong with a config at once: by itself, for the model and for the data that it names.
//!
//! What is wrong with one part keeps no other from being checked: of a model that is not there the data is read, and
//! of a config with a mistake what is sound is held against both. What only a run shows comes later: an engine whose
//! library is not here, weights that are damaged, a row that the tokenizer has no token for.

mod model;

use std::path::PathBuf;

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
/// With everything that is, and with what the model and the data show to be wrong with the rest of it.
pub fn sound(draft: Draft, environment: &Environment) -> Result<Loaded, RunError> {
    if draft.is_sound() {
        return Ok(draft.finish()?);
    }
    let mut wrong = Vec::new();
    let task: Option<TaskConfig> = draft.part("task", &mut wrong);
    let bundle: Option<String> = draft.part("device.bundle", &mut wrong);
    let max_tokens: Option<Option<usize>> = draft.part("device.max_tokens", &mut wrong);
    let own_prediction: Option<Option<_>> = draft.part("device.own_prediction", &mut wrong);
    // The model shows nothing about it.
    let _predictor: Option<Box<dyn SideNetworkConfig>> = draft.part("device.predictor", &mut wrong);
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
    wrong.append(&mut findings.0);
    Err(draft.errors(wrong).into())
}

/// Everything that was found so far, each at its key path of the config.
#[derive(Default)]
pub(crate) struct Findings(Vec<Diagnostic>);

impl Findings {
    /// Adds what is wrong at `key`.
    fn add(&mut self, key: &str, found: impl IntoIterator<Item = Diagnostic>) {
        self.0.extend(found.into_iter().map(|finding| finding.under(key)));
    }

    /// Adds what is wrong at `key`, and says whether nothing is.
    fn passes(&mut self, key: &str, found: Vec<Diagnostic>) -> bool {
        let is_sound = found.is_empty();
        self.add(key, found);
        is_sound
    }

    /// What the file that `key` names gave.
    fn file<T>(&mut self, key: &str, result: Result<T, RunError>) -> Option<T> {
        result.map_err(|error| self.add(key, [Diagnostic::new("", error.to_string())])).ok()
    }

    /// What a check gave.
    fn take<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|mut found| self.0.append(&mut found.0)).ok()
    }

    /// As an error of the config from `origin`.
    pub(crate) fn into_error(self, origin: &Origin) -> RunError {
        origin.errors(self.0).into()
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
    const TRAIN: &str = "task.train";
    const HELD_OUT: &str = "task.held_out";
    let rows = |path: PathBuf| Ok(dataset::load_rows(task, &path)?);
    let train = environment.required(origin, TRAIN, "the data").and_then(rows);
    let held_out = environment.locate(origin, HELD_OUT, "the data");
    let held_out = held_out.and_then(|path| path.map(rows).transpose());
    let mut found = Findings::default();
    match (found.file(TRAIN, train), found.file(HELD_OUT, held_out)) {
        (Some(train), Some(held_out)) => {
            // Each file by itself is right.
            let dataset = dataset::of_files(task, train, held_out).map_err(RunError::from);
            found.file(TRAIN, dataset).ok_or(found)
        }
        _ => Err(found),
    }
}
