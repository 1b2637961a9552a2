//! A model's own head: one that answers for a whole text, or one that scores the next token.
//!
//! What a classifier answers is one class of several, or one number. A head that answers yes or no for
//! each of several labels (`problem_type` "multi_label_classification") is neither, and its logits read
//! as such would be wrong: the model is imported without it. So it is with heads of other tasks.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::names::Origin;
use crate::network::{Activation, Head};

/// The classifier that a family of encoders has.
pub(super) struct Classifier {
    /// The class of models that have it.
    pub(super) class: &'static str,
    /// Its inner map.
    pub(super) dense: &'static str,
    /// Its outer map.
    pub(super) output: &'static str,
    /// What stands between them.
    pub(super) activation: Activation,
}

impl Classifier {
    /// What its tensors are called.
    pub(super) fn stems(&self) -> [(&'static str, Origin); 2] {
        let Self { dense, output, .. } = *self;
        [("classifier.dense", Origin::Same(dense)), ("classifier.output", Origin::Same(output))]
    }
}

/// The `problem_type` of a head that answers yes or no for each label.
const MULTI_LABEL: &str = "multi_label_classification";

/// What `config.json` says of a classifier.
#[derive(Deserialize)]
pub(super) struct Labels {
    num_labels: Option<usize>,
    id2label: Option<BTreeMap<usize, String>>,
    problem_type: Option<String>,
}

/// The classifier `known` of the model, if that is its head, and the names of its outputs, if the model
/// gives them any.
///
/// Other classes call other heads by the same names: where the config names classes, only that of
/// `known` has this head. Where it names none, the tensors say whether there is one.
///
/// # Errors
/// If the head is not whole, or the config contradicts it.
pub(super) fn classifier(
    config: &Config,
    checkpoint: &Checkpoint,
    known: &Classifier,
    hidden: usize,
) -> Result<(Option<Head>, Option<Vec<String>>), ImportError> {
    let tensor = |map: &str, part: &str| {
        let found = checkpoint.find(&format!("{map}.{part}"));
        found.map(|found| checkpoint.shape(&found))
    };
    let is_there = match config.classes()? {
        Some(classes) => classes.iter().any(|class| class == known.class),
        None => tensor(known.output, "weight").or(tensor(known.output, "bias")).is_some(),
    };
    let Some(labels) = Labels::read(config)?.filter(|_| is_there) else { return Ok((None, None)) };
    let Classifier { class, dense, output, activation } = *known;
    let outputs = tensor(output, "weight").and_then(|shape| shape.first().copied());
    let outputs = outputs.unwrap_or(1).max(1);
    let wrong = |problem: String| ImportError::Head {
        problem: format!(
            "{problem}; {class} has {dense}.weight [{hidden}, {hidden}], {dense}.bias [{hidden}], \
             {output}.weight [labels, {hidden}] and {output}.bias [labels]"
        ),
    };
    for (map, part, shape) in [
        (output, "weight", vec![outputs, hidden]),
        (output, "bias", vec![outputs]),
        (dense, "weight", vec![hidden, hidden]),
        (dense, "bias", vec![hidden]),
    ] {
        let got = tensor(map, part).ok_or_else(|| wrong(format!("lacks {map}.{part}")))?;
        if got != shape {
            return Err(wrong(format!("has {map}.{part} {got:?}, expected {shape:?}")));
        }
    }
    let names = labels.names(config, outputs)?;
    Ok((Some(Head::Classifier { activation, outputs }), names))
}

/// The head that scores the next token, if the model has one. `tied` says whether its matrix is that of
/// the token embedding, called `embedding`.
///
/// Of a model that is said to be tied but was saved with two different matrices, both are kept, as
/// `transformers` 5 does.
///
/// # Errors
/// If the config is damaged.
pub(super) fn vocabulary(
    config: &Config,
    checkpoint: &Checkpoint,
    embedding: &str,
    tied: bool,
) -> Result<Option<Head>, ImportError> {
    let own = checkpoint.find("lm_head.weight");
    let is_there = match config.classes()? {
        Some(classes) => classes
            .iter()
            .any(|class| class.ends_with("ForCausalLM") || class.ends_with("LMHeadModel")),
        None => own.is_some() || tied && checkpoint.is_prefixed(),
    };
    let differs = own.zip(checkpoint.find(embedding));
    let differs = differs.is_some_and(|(own, embedding)| !checkpoint.equal(&own, &embedding));
    Ok(is_there.then_some(Head::Vocabulary { tied: tied && !differs }))
}

impl Labels {
    /// What `config` says; `None` if the answer is a yes or no for each label.
    ///
    /// # Errors
    /// If the config is damaged.
    pub(super) fn read(config: &Config) -> Result<Option<Self>, ImportError> {
        let labels: Self = config.parse()?;
        Ok((labels.problem_type.as_deref() != Some(MULTI_LABEL)).then_some(labels))
    }

    /// The names of `outputs` outputs, if the model gives them any.
    ///
    /// # Errors
    /// If the config contradicts their number.
    pub(super) fn names(
        self,
        config: &Config,
        outputs: usize,
    ) -> Result<Option<Vec<String>>, ImportError> {
        match self.problem(outputs) {
            Some(problem) => Err(config.wrong(problem)),
            None => Ok(self.given_names()),
        }
    }

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
    fn given_names(self) -> Option<Vec<String>> {
        let labels: Vec<String> = self.id2label?.into_values().collect();
        let made_up = labels.iter().enumerate().all(|(id, name)| *name == format!("LABEL_{id}"));
        (!made_up).then_some(labels)
    }
}

/// What to do with a model whose head cannot be run.
pub(super) const WITHOUT_HEAD: &str = "to import the encoder alone, save it without its head \
     (`AutoModel.from_pretrained(...).save_pretrained(...)`)";
