//! `predict`, `eval`.

use std::io::{BufRead, stdin};

use mobillm::trained::{Answer, Trained};

use super::{Outcome, print};
use crate::arguments::{Arguments, EvalArguments, PredictArguments};
use crate::display;
use crate::machine::environment;
use crate::watcher::Watcher;

/// Lines of stdin that are answered together.
const LINES: usize = 256;

pub(super) fn predict(arguments: &Arguments, predict: &PredictArguments) -> Outcome {
    let mut trained = Trained::open(&predict.run, &environment()?)?;
    if !predict.texts.is_empty() {
        return answer(arguments, &mut trained, &predict.texts, predict.pair.as_deref());
    }
    let mut lines = stdin().lock().lines();
    loop {
        let chunk = lines.by_ref().take(LINES).collect::<Result<Vec<String>, _>>()?;
        if chunk.is_empty() {
            return Ok(());
        }
        answer(arguments, &mut trained, &chunk, predict.pair.as_deref())?;
    }
}

fn answer(
    arguments: &Arguments,
    trained: &mut Trained,
    texts: &[String],
    pair: Option<&str>,
) -> Outcome {
    let inputs: Vec<(&str, Option<&str>)> =
        texts.iter().map(|text| (text.as_str(), pair)).collect();
    for (text, answer) in texts.iter().zip(trained.answer(&inputs)?) {
        if let Some(tokens) = truncated(&answer).filter(|_| !arguments.quiet) {
            eprintln!(
                "warning: {tokens} tokens of the text did not fit the model and were cut off"
            );
        }
        print(arguments.json, &answer, || line(text, &answer))?;
    }
    Ok(())
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
    let mut trained = Trained::open(&eval.run, &environment()?)?;
    let watcher = Watcher::new(arguments.quiet)?;
    let scores = trained.evaluate(&eval.file, &watcher.watch())?;
    print(arguments.json, &scores, || display::scores(&scores))
}
