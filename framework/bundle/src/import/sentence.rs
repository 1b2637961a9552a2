//! What `sentence-transformers` keeps beside a model: which tokens make up a sentence, and how
//! many a sentence may have.

use std::path::{Component, Path};

use mobillm_core::backbone::Pooling;
use serde::Deserialize;

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

/// `1_Pooling/config.json`: one of the modes is true.
#[derive(Deserialize)]
struct PoolingModes {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

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

fn pooling(path: &Path) -> Result<Pooling, ImportError> {
    let modes: PoolingModes = read_json(path)?;
    let chosen = [
        (modes.pooling_mode_cls_token, Pooling::FirstToken),
        (modes.pooling_mode_mean_tokens, Pooling::Mean),
        (modes.pooling_mode_lasttoken, Pooling::LastToken),
    ];
    let mut chosen = chosen.into_iter().filter(|(on, _)| *on);
    match (chosen.next(), chosen.next()) {
        (Some((_, pooling)), None) => Ok(pooling),
        _ => Err(ImportError::Config {
            path: path.to_owned(),
            problem: "expected exactly one of pooling_mode_cls_token, pooling_mode_mean_tokens \
                      and pooling_mode_lasttoken to be true; other ways of pooling are not known"
                .to_owned(),
        }),
    }
}
