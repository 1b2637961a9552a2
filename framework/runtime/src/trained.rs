//! A run's result: the model and the adapter of a run folder, to predict and to evaluate with.

use std::path::Path;

use mobillm_core::backbone::Tokens;
use mobillm_task::config::TaskConfig;
use mobillm_task::schedule::MicroBatch;
use mobillm_task::{Scores, dataset};
use serde::{Serialize, Serializer};

use crate::assembly::Assembly;
use crate::config::{Config, Loaded};
use crate::device::predict::Predictor;
use crate::device::{RowTokenizer, tokenize};
use crate::environment::Environment;
use crate::error::{Asked, RunError};
use crate::progress::{News, Phase, Watch};
use crate::run::{RunFolder, RunState, then_and_now};

/// A trained pipeline.
pub struct Trained {
    predictor: Predictor,
    tokenizer: RowTokenizer,
    task: TaskConfig,
    micro_batch: MicroBatch,
    warning: Option<String>,
}

/// The answer to one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of a classification.
    Label {
        /// The most probable label.
        label: String,
        /// The probability of each label, in the order of the config; in JSON an object.
        #[serde(serialize_with = "as_object")]
        probabilities: Vec<(String, f32)>,
        /// Tokens of the text that the model could not take.
        truncated: usize,
    },
    /// Of a regression.
    Value {
        /// The value, in the units of the data.
        value: f64,
        /// Tokens of the text that the model could not take.
        truncated: usize,
    },
}

impl Trained {
    /// Opens the run folder `path`; settings of the pipeline are the run's own.
    ///
    /// # Errors
    /// If it has no adapter yet, or model, adapter and config do not fit together.
    pub fn open(path: &Path, environment: &Environment) -> Result<Self, RunError> {
        Self::of(path, &Self::config(path, environment)?, environment)
    }

    /// The config of the run folder `path`, whose plugins are loaded with it.
    ///
    /// # Errors
    /// If the run has no adapter yet, or its config cannot be used any more.
    pub fn config(path: &Path, environment: &Environment) -> Result<Loaded, RunError> {
        RunFolder::adapter(path)?;
        Ok(Config::load(&RunFolder::config_path(path), &[], &environment.registry)?)
    }

    /// Opens the run folder `path`, whose config is `loaded`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(path: &Path, loaded: &Loaded, environment: &Environment) -> Result<Self, RunError> {
        let adapter = RunFolder::adapter(path)?;
        let assembly = Assembly::new(loaded, environment)?;
        let network = loaded.config.device.predictor.load(&adapter)?;
        network.info().check(&assembly.side_network(0))?;
        let config = &loaded.config;
        let state = RunFolder::state(path)?;
        let warning = other_plugins(&state, loaded);
        let own = assembly.own(state.own_prior);
        let predictor = Predictor {
            path: assembly.tap_path(config, environment, own)?,
            quantizer: assembly.quantizer.clone(),
            network,
            objective: assembly.objective,
        };
        let tokenizer =
            RowTokenizer::new(&assembly.bundle, &config.task, config.device.max_tokens)?;
        let micro_batch = config.device.micro_batch();
        Ok(Self { predictor, tokenizer, task: config.task.clone(), micro_batch, warning })
    }

    /// What whoever relies on the answers should know: that a dynamic library is not the one that the run was
    /// trained with.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Answers `texts`, each with a second text if the task has pairs.
    ///
    /// # Errors
    /// If a second text is missing or one too many, a text cannot be cut into tokens or a stage fails.
    pub fn answer(&mut self, texts: &[(&str, Option<&str>)]) -> Result<Vec<Answer>, RunError> {
        let pairs = self.task.columns.pair.is_some();
        if texts.iter().any(|(_, pair)| pair.is_some() != pairs) {
            return Err(RunError::Pairs { pairs });
        }
        let encoded = texts
            .iter()
            .map(|(text, pair)| self.tokenizer.encode(text, *pair))
            .collect::<Result<Vec<_>, _>>()?;
        let all = (0..encoded.len()).collect();
        let mut answers = Vec::with_capacity(encoded.len());
        for chunk in self.micro_batch.cut(all, |at| encoded[at].tokens.ids.len()) {
            let tokens: Vec<&Tokens> = chunk.iter().map(|&at| &encoded[at].tokens).collect();
            let asked = |sample: usize| Asked::Text(chunk[sample] + 1);
            let outputs = self.predictor.predict(&tokens, &asked)?;
            for (output, &at) in outputs.iter().zip(&chunk) {
                answers.push((at, answer(&self.task, output, encoded[at].truncated)));
            }
        }
        answers.sort_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Scores the rows of the labelled file `path`.
    ///
    /// # Errors
    /// If the file cannot be used or a stage fails.
    pub fn evaluate(&mut self, path: &Path, watch: &Watch<'_>) -> Result<Scores, RunError> {
        let file = dataset::load_rows(&self.task, path)?;
        watch.begin(Phase::Tokenize, file.rows.len() as u64, 0);
        let rows = tokenize(path, &file.rows, &self.tokenizer, 0, watch)?;
        watch.end(Phase::Tokenize);
        if rows.truncated > 0 {
            let message = format!(
                "{} rows are longer than the model takes and were truncated",
                rows.truncated
            );
            watch.news(News::Warning { message });
        }
        let order = (0..rows.tokens.len()).collect();
        let micro_batches = self.micro_batch.cut(order, |row| rows.tokens[row].ids.len());
        watch.begin(Phase::Predict, rows.tokens.len() as u64, 0);
        let (mut outputs, mut truths) = (Vec::new(), Vec::new());
        for chunk in micro_batches {
            watch.check()?;
            let tokens: Vec<&Tokens> = chunk.iter().map(|&row| &rows.tokens[row]).collect();
            let asked = |sample: usize| rows.asked(chunk[sample]);
            outputs.extend(self.predictor.predict(&tokens, &asked)?.into_iter().flatten());
            truths.extend(chunk.iter().map(|&row| rows.truths[row]));
            watch.advance(Phase::Predict, truths.len() as u64);
        }
        watch.end(Phase::Predict);
        Ok(Scores::of(&self.task, &truths, &outputs)?)
    }
}

/// A build of the same source has another digest and need not answer otherwise: so it is for people to judge.
fn other_plugins(state: &RunState, loaded: &Loaded) -> Option<String> {
    let mut now = loaded.libraries_of(&["device"]);
    now.retain(|plugin| !state.plugins().contains(plugin));
    (!now.is_empty()).then(|| {
        format!(
            "the run was trained with {}, and answers may differ; put it back, or see with `mobillm eval` \
             whether they do",
            then_and_now(state.plugins(), &now)
        )
    })
}

fn as_object<S: Serializer>(pairs: &[(String, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(label, probability)| (label, probability)))
}

fn answer(task: &TaskConfig, output: &[f32], truncated: usize) -> Answer {
    match task.range {
        None if !task.labels.is_empty() => {
            let probabilities: Vec<(String, f32)> =
                task.labels.iter().cloned().zip(output.iter().copied()).collect();
            let best = probabilities.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            let label = best.map_or_else(String::new, |(label, _)| label.clone());
            Answer::Label { label, probabilities, truncated }
        }
        range => {
            let [low, high] = range.unwrap_or([0.0, 1.0]);
            Answer::Value { value: low + (high - low) * f64::from(output[0]), truncated }
        }
    }
}
