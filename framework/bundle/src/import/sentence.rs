//! What `sentence-transformers` keeps beside a model: which tokens make up a sentence, and how
//! many a sentence may have.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use mobillm_core::backbone::Pooling;
use serde::Deserialize;
use serde_json::Value;

use super::{ImportError, read_json};

/// What the files say, where there are any.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) pooling: Option<Pooling>,
    pub(super) max_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// The ways of pooling that are known, by their keys in `1_Pooling/config.json`.
const MODES: [(&str, Pooling); 3] = [
    ("pooling_mode_cls_token", Pooling::FirstToken),
    ("pooling_mode_mean_tokens", Pooling::Mean),
    ("pooling_mode_lasttoken", Pooling::LastToken),
];

#[derive(Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
}

/// Reads `modules.json` and what it names, and `sentence_bert_config.json`.
pub(super) fn read(folder: &Path) -> Result<Sentence, ImportError> {
    let mut sentence = Sentence::default();
    let modules = folder.join("modules.json");
    if modules.exists() {
        let list: Vec<Module> = read_json(&modules)?;
        if let Some(module) = list.iter().find(|module| module.r#type.ends_with(".Pooling")) {
            let within = Path::new(&module.path);
            if !within.components().all(|part| matches!(part, Component::Normal(_))) {
                let problem = format!("path {:?} leads out of the model's folder", module.path);
                return Err(ImportError::Config { path: modules, problem });
            }
            sentence.pooling = Some(pooling(&folder.join(within).join("config.json"))?);
        }
    }
    let limits = folder.join("sentence_bert_config.json");
    if limits.exists() {
        let Limits { max_seq_length } = read_json(&limits)?;
        sentence.max_tokens = max_seq_length;
    }
    Ok(sentence)
}

/// The one way of pooling that is on: several are put side by side.
fn pooling(path: &Path) -> Result<Pooling, ImportError> {
    let keys: BTreeMap<String, Value> = read_json(path)?;
    let on = |(key, value): &(&String, &Value)| {
        key.starts_with("pooling_mode_") && **value != Value::Bool(false)
    };
    let chosen: Vec<_> = keys.iter().filter(on).collect();
    let known = match chosen[..] {
        [(key, Value::Bool(true))] => MODES.iter().find(|(mode, _)| mode == key),
        _ => None,
    };
    known.map(|(_, pooling)| *pooling).ok_or_else(|| {
        let chosen: Vec<String> =
            chosen.iter().map(|(key, value)| format!("`{key}`: {value}")).collect();
        let got = if chosen.is_empty() { "nothing".to_owned() } else { chosen.join(", ") };
        ImportError::Config {
            path: path.to_owned(),
            problem: format!(
                "pools by {got}, expected exactly one of {} to be true; other ways are not known",
                MODES.map(|(key, _)| format!("`{key}`")).join(", ")
            ),
        }
    })
}
