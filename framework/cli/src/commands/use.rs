//! `predict`, `eval`.

use std::io::{BufRead, Write, stdin, stdout};

use mobillm::trained::{Answer, Trained};
use mobillm::{Asked, RunError, Stop};

use super::{Outcome, print};
use crate::arguments::{Arguments, EvalArguments, PredictArguments};
use crate::machine::environment;
use crate::watcher::{Watcher, say};
use crate::{CommandError, display, hang};

/// Lines of stdin that are answered together.
const LINES: usize = 256;

pub(super) fn predict(arguments: &Arguments, predict: &PredictArguments) -> Outcome {
    let environment = environment()?;
    let loaded = Trained::config(&predict.run, &environment)?;
    let seconds = loaded.config.plugins.patience_seconds;
    hang::mind(&loaded.plugins, seconds, &Stop::default())?;
    let mut trained = Trained::of(&predict.run, &loaded, &environment)?;
    if let Some(warning) = trained.warning().filter(|_| !arguments.quiet) {
        say(&format!("warning: {warning}"));
    }
    let mut answer = |texts: &[(usize, String)]| {
        let pair = predict.pair.as_deref();
        answer(arguments, &mut trained, texts, pair)
    };
    if !predict.texts.is_empty() {
        return answer(&(1..).zip(predict.texts.iter().cloned()).collect::<Vec<_>>());
    }
    let mut lines = (1..).zip(stdin().lock().lines()).map(|(number, line)| match line {
        Ok(line) => Ok((number, line)),
        Err(source) => Err(CommandError::Line { number, source }),
    });
    loop {
        let chunk = lines.by_ref().take(LINES).collect::<Result<Vec<_>, _>>()?;
        if chunk.is_empty() {
            return Ok(());
        }
        answer(&chunk)?;
    }
}

/// Answers numbered texts, each on a line.
fn answer(
    arguments: &Arguments,
    trained: &mut Trained,
    texts: &[(usize, String)],
    pair: Option<&str>,
) -> Outcome {
    let inputs: Vec<(&str, Option<&str>)> =
        texts.iter().map(|(_, text)| (text.as_str(), pair)).collect();
    let mut out = stdout().lock();
    let answers = trained.answer(&inputs).map_err(|error| match error {
        // Of all lines of stdin, not of those that are answered together.
        RunError::Answer { asked: Asked::Text(number), source } => {
            RunError::Answer { asked: Asked::Text(texts[number - 1].0), source }
        }
        error => error,
    })?;
    for ((number, text), answer) in texts.iter().zip(answers) {
        if let Some(tokens) = truncated(&answer).filter(|_| !arguments.quiet) {
            say(&format!(
                "warning: {tokens} tokens of text {number} did not fit the model and were cut off"
            ));
        }
        match arguments.json {
            true => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
            false => writeln!(out, "{}", line(text, &answer))?,
        }
    }
    Ok(out.flush()?)
}

fn truncated(answer: &Answer) -> Option<usize> {
    let (Answer::Label { truncated, .. } | Answer::Value { truncated, .. }) = answer;
    Some(*truncated).filter(|&tokens| tokens > 0)
}

fn line(text: &str, answer: &Answer) -> String {
    match answer {
        Answer::Label { label, probabilities, .. } => {
            let probability =
                probabilities.iter().find(|(name, _)| name == label).map_or(0.0, |(_, p)| *p);
            format!("{label}\t{probability:.4}\t{text}")
        }
        Answer::Value { value, .. } => format!("{value:.4}\t{text}"),
    }
}

pub(super) fn eval(arguments: &Arguments, eval: &EvalArguments) -> Outcome {
    let environment = environment()?;
    let loaded = Trained::config(&eval.run, &environment)?;
    let watcher = Watcher::of_run(arguments.quiet)?;
    let seconds = loaded.config.plugins.patience_seconds;
    hang::mind(&loaded.plugins, seconds, &watcher.watch().stop)?;
    let mut trained = Trained::of(&eval.run, &loaded, &environment)?;
    if let Some(warning) = trained.warning() {
        watcher.line(&format!("warning: {warning}"));
    }
    let scores = trained.evaluate(&eval.file, &watcher.watch())?;
    print(arguments.json, &scores, || display::scores(&scores))
}
