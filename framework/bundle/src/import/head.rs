//! A model's own task head, if it answers for a whole text: its outputs and what they are called.
//!
//! What it answers is one class of several, or one number. A head that answers yes or no for each of
//! several labels (`problem_type` "multi_label_classification") is neither, and its logits read as
//! such would be wrong: the model is imported without it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{ImportError, read_json};

/// A head with one logit for each class, or the one output of a regression.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) outputs: usize,
    /// The outputs' names in their order, if the model gives them any.
    pub(super) labels: Option<Vec<String>>,
}

/// The `problem_type` of a head that answers yes or no for each label.
const MULTI_LABEL: &str = "multi_label_classification";

/// What `config.json` says of a head.
#[derive(Deserialize)]
struct HeadConfig {
    num_labels: Option<usize>,
    id2label: Option<BTreeMap<usize, String>>,
    problem_type: Option<String>,
}

impl Head {
    /// The head of the model with the `config.json` at `path`, whose classifier has `outputs`
    /// outputs; `None` if they are several labels' at once.
    pub(super) fn read(path: &Path, outputs: usize) -> Result<Option<Self>, ImportError> {
        let config: HeadConfig = read_json(path)?;
        if config.problem_type.as_deref() == Some(MULTI_LABEL) {
            return Ok(None);
        }
        match config.problem(outputs) {
            Some(problem) => Err(ImportError::Config { path: path.to_owned(), problem }),
            None => Ok(Some(Self { outputs, labels: config.labels() })),
        }
    }
}

impl HeadConfig {
    fn problem(&self, outputs: usize) -> Option<String> {
        let named = self.id2label.as_ref().map(BTreeMap::len);
        for (key, labels) in [("num_labels", self.num_labels), ("id2label", named)] {
            if let Some(labels) = labels.filter(|labels| *labels != outputs) {
                return Some(format!(
                    "`{key}` makes it {labels} labels, but the classifier in the weights has \
                     {outputs} outputs; config.json and weights are not of one model"
                ));
            }
        }
        if let Some(label) =
            self.id2label.iter().flat_map(BTreeMap::keys).find(|id| **id >= outputs)
        {
            let last = outputs - 1;
            return Some(format!("`id2label` names label {label}, expected labels 0 to {last}"));
        }
        match self.problem_type.as_deref() {
            None | Some("single_label_classification") => None,
            Some("regression") if outputs == 1 => None,
            Some("regression") => Some(format!(
                "`problem_type` is \"regression\" with {outputs} outputs, expected one output"
            )),
            Some(other) => Some(format!(
                "`problem_type` is {other:?}, expected \"single_label_classification\", \
                 {MULTI_LABEL:?} or \"regression\"; {WITHOUT_HEAD}"
            )),
        }
    }

    /// The names in `id2label`. Those that `transformers` makes up are none.
    fn labels(self) -> Option<Vec<String>> {
        let labels: Vec<String> = self.id2label?.into_values().collect();
        let made_up = labels.iter().enumerate().all(|(id, name)| *name == format!("LABEL_{id}"));
        (!made_up).then_some(labels)
    }
}

/// What to do with a model whose head cannot be run.
pub(super) const WITHOUT_HEAD: &str = "to import the encoder alone, save it without its head \
     (`AutoModel.from_pretrained(...).save_pretrained(...)`)";
