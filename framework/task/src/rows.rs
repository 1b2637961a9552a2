//! Cells to rows: a text that is not empty and a truth that the config knows.

use mobillm_core::sample::Truth;

use crate::config::{TaskConfig, TaskKind, quoted};
use crate::error::{Place, Problem};
use crate::table::Cells;

/// One labelled text.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it is in its file.
    pub place: Place,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The class, or the target scaled to 0 and 1.
    pub truth: Truth,
}

impl Row {
    /// What makes two rows the same text.
    pub(crate) fn key(&self) -> (&str, Option<&str>) {
        (&self.text, self.pair.as_deref())
    }
}

/// The row of `cells`.
pub(crate) fn row(config: &TaskConfig, cells: Cells<'_>) -> Result<Row, Problem> {
    let problem = |message| Problem::new(cells.place, message);
    let pair = config.columns.pair.as_ref().zip(cells.pair.as_ref());
    for (column, text) in [(&config.columns.text, &cells.text)].into_iter().chain(pair) {
        if text.trim().is_empty() {
            return Err(problem(format!("column {column}: the text is empty")));
        }
    }
    let truth = match config.kind {
        TaskKind::Classification => class(&config.labels, &cells.label),
        TaskKind::Regression => target(config.range.unwrap_or([0.0, 1.0]), &cells.label),
    };
    let truth =
        truth.map_err(|message| problem(format!("column {}: {message}", config.columns.label)))?;
    Ok(Row {
        place: cells.place,
        text: cells.text.into_owned(),
        pair: cells.pair.map(Into::into),
        truth,
    })
}

fn class(labels: &[String], label: &str) -> Result<Truth, String> {
    match labels.iter().position(|known| known == label) {
        Some(class) => Ok(Truth::Class(class as u32)),
        None => Err(format!(
            "the label `{label}` is not in `task.labels`; expected one of {}",
            quoted(labels)
        )),
    }
}

fn target([low, high]: [f64; 2], target: &str) -> Result<Truth, String> {
    let value: f64 = target
        .trim()
        .parse()
        .map_err(|_| format!("`{target}` is not a number; expected {low} to {high}"))?;
    // NaN is in no range.
    if !(low..=high).contains(&value) {
        return Err(format!("the target {value} is not within `task.range`, {low} to {high}"));
    }
    Ok(Truth::Value(((value - low) / (high - low)) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{classification, regression};

    fn cells<'a>(text: &'a str, pair: Option<&'a str>, label: &'a str) -> Cells<'a> {
        Cells {
            place: Place::Line(7),
            text: text.into(),
            pair: pair.map(Into::into),
            label: label.into(),
        }
    }

    #[test]
    fn a_label_is_its_place_in_the_list() {
        let row = row(&classification(), cells("hi", None, "spam")).unwrap();
        assert_eq!((row.place, row.truth), (Place::Line(7), Truth::Class(1)));
    }

    #[test]
    fn an_unknown_label_lists_the_known_ones() {
        let problem = row(&classification(), cells("hi", None, "Spam")).unwrap_err();
        assert_eq!(
            problem.message,
            "column `label`: the label `Spam` is not in `task.labels`; expected one of `ham`, `spam`"
        );
    }

    #[test]
    fn targets_are_scaled_to_the_range() {
        let truth = |target| row(&regression(), cells("a", Some("b"), target)).map(|row| row.truth);
        assert_eq!(truth("0").unwrap(), Truth::Value(0.0));
        assert_eq!(truth(" 5.0").unwrap(), Truth::Value(1.0));
        assert_eq!(truth("1").unwrap(), Truth::Value(0.2));
        for wrong in ["NaN", "inf", "-0.1", "5.1", "1e999", "four", ""] {
            assert!(truth(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_text_of_a_row_is_empty() {
        let message =
            |text, pair| row(&regression(), cells(text, Some(pair), "1")).unwrap_err().message;
        assert_eq!(message(" \t", "b"), "column `text`: the text is empty");
        assert_eq!(message("a", ""), "column `pair`: the text is empty");
    }
}
