//! Prompts: a template around a row's texts, and words that stand for the labels.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use mobillm_core::diagnostic::Diagnostic;

/// The `task.prompt` table: how a row is put to a language model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// What stands around a row's texts: `{text}`, or `{text_a}` and `{text_b}` of a pair; `{{` and `}}`
    /// are braces. If a row is too long its texts are cut, never the template.
    pub template: String,
    /// For each of `labels`, in their order, the word that stands for it as the model's next one, such as
    /// " positive"; each is one token. Their scores are the model's own prediction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_words: Vec<String>,
}

impl PromptConfig {
    /// Everything that is wrong with this table for a task over pairs or not, with `labels`. Pure.
    pub(crate) fn check(&self, is_pair: bool, labels: &[String]) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        match Template::parse(&self.template) {
            Ok(template) => found.extend(template.check(is_pair)),
            Err(problem) => found.push(
                Diagnostic::new("template", problem).help("braces are written `{{` and `}}`"),
            ),
        }
        let words = self.label_words.len();
        if words > 0 && words != labels.len() {
            let expected = match labels.len() {
                0 => "none, for the task has no labels".to_owned(),
                labels => {
                    format!("{labels}, one for each of `task.labels` in their order, or none")
                }
            };
            found.push(Diagnostic::new("label_words", format!("got {words}")).expected(expected));
        }
        for (index, word) in self.label_words.iter().enumerate() {
            let path = || format!("label_words[{index}]");
            if word.is_empty() {
                found.push(Diagnostic::new(path(), "the word is empty"));
            } else if self.label_words[..index].contains(word) {
                found.push(Diagnostic::new(path(), format!("`{word}` stands for two labels")));
            }
        }
        found
    }

    /// The template.
    ///
    /// # Errors
    /// With what is wrong with it, which [`check`](crate::TaskConfig::check) finds too.
    pub fn template(&self) -> Result<Template, String> {
        Template::parse(&self.template)
    }
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Slot(Slot),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Text,
    First,
    Second,
}

const SLOTS: [(&str, Slot); 3] =
    [("text", Slot::Text), ("text_a", Slot::First), ("text_b", Slot::Second)];

/// A filled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The whole text.
    pub text: String,
    /// The bytes of it that came from the row, and may be cut off from their ends.
    pub inserted: Vec<Range<usize>>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// With what is wrong and at which byte.
    pub fn parse(template: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let byte = template.len() - rest.len() + at;
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if rest.starts_with('}') {
                return Err(format!("`}}` at byte {byte} ends nothing"));
            } else {
                let end = rest.find('}').ok_or(format!("`{{` at byte {byte} is not ended"))?;
                let name = &rest[1..end];
                let slot = SLOTS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                    format!("`{{{name}}}` at byte {byte} is not known; expected {{text}}, {{text_a}} or {{text_b}}")
                })?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Slot(slot.1));
                rest = &rest[end + 1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    fn check(&self, is_pair: bool) -> Option<Diagnostic> {
        let has = |slot| self.pieces.contains(&Piece::Slot(slot));
        let wrong = |message: &str, expected: &str| {
            Some(Diagnostic::new("template", message).expected(expected))
        };
        match is_pair {
            false if has(Slot::First) || has(Slot::Second) => {
                wrong("the task has one text a row, not a pair", "`{text}`")
            }
            false if !has(Slot::Text) => wrong("the row's text is not in it", "`{text}`"),
            true if has(Slot::Text) => {
                wrong("the task has a pair of texts a row", "`{text_a}` and `{text_b}`")
            }
            true if !(has(Slot::First) && has(Slot::Second)) => {
                wrong("not both texts of the pair are in it", "`{text_a}` and `{text_b}`")
            }
            _ => None,
        }
    }

    /// The prompt of `text`, or of `text` and `pair`.
    pub fn fill(&self, text: &str, pair: Option<&str>) -> Prompt {
        let mut prompt = Prompt { text: String::new(), inserted: Vec::new() };
        for piece in &self.pieces {
            let inserted = match piece {
                Piece::Literal(literal) => {
                    prompt.text.push_str(literal);
                    continue;
                }
                Piece::Slot(Slot::Text | Slot::First) => text,
                Piece::Slot(Slot::Second) => pair.unwrap_or_default(),
            };
            let start = prompt.text.len();
            prompt.text.push_str(inserted);
            prompt.inserted.push(start..prompt.text.len());
        }
        prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels() -> Vec<String> {
        vec!["0".into(), "1".into()]
    }

    fn config(template: &str, words: &[&str]) -> PromptConfig {
        let label_words = words.iter().map(|&word| word.to_owned()).collect();
        PromptConfig { template: template.to_owned(), label_words }
    }

    #[test]
    fn texts_stand_where_the_template_says() {
        let template = Template::parse("{{{text_a}}} / {text_b}?").unwrap();
        let prompt = template.fill("on", Some("off"));
        assert_eq!(prompt.text, "{on} / off?");
        assert_eq!(prompt.inserted, [1..3, 7..10]);
    }

    #[test]
    fn a_sound_prompt_has_no_finding() {
        let words = [" negative", " positive"];
        assert_eq!(config("Review: {text}\nSentiment:", &words).check(false, &labels()), []);
        assert_eq!(config("{text_b} {text_a} {text_a}", &[]).check(true, &labels()), []);
    }

    #[test]
    fn what_is_wrong_with_a_template_says_where() {
        let found = |template, is_pair| {
            let found = config(template, &[]).check(is_pair, &labels());
            assert_eq!(found.len(), 1, "{template}");
            found[0].to_string()
        };
        assert!(found("a {txt}", false).contains("`{txt}` at byte 2 is not known"));
        assert!(found("é{text", false).contains("`{` at byte 2 is not ended"));
        assert!(found("{text}}", false).contains("`}` at byte 6 ends nothing"));
        assert!(found("", false).contains("the row's text is not in it"));
        assert!(found("{text} {text_b}", false).contains("not a pair"));
        assert!(found("{text}", true).contains("a pair of texts"));
        assert!(found("{text_a}", true).contains("not both"));
    }

    #[test]
    fn words_that_do_not_tell_the_labels_apart_are_found() {
        let found = |words: &[&str]| {
            let found = config("{text}", words).check(false, &labels());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let one =
            "label_words: got 1; expected 2, one for each of `task.labels` in their order, or none";
        assert_eq!(found(&[" a"]), [one]);
        assert_eq!(found(&[" a", " a"]), ["label_words[1]: ` a` stands for two labels"]);
        assert_eq!(found(&["", " a"]), ["label_words[0]: the word is empty"]);
    }

    proptest! {
        #[test]
        fn inserted_bytes_are_the_texts(first in ".{0,20}", second in ".{0,20}", literal in "[a-zé]{0,5}") {
            let template = Template::parse(&format!("{literal}{{text_a}}{literal}{{text_b}}")).unwrap();
            let prompt = template.fill(&first, Some(&second));
            let got: Vec<&str> =
                prompt.inserted.iter().map(|range| &prompt.text[range.clone()]).collect();
            prop_assert_eq!(got, [first.as_str(), second.as_str()]);
        }

        #[test]
        fn nothing_panics(template in "[{}a-z_]{0,12}") {
            drop(Template::parse(&template));
        }
    }
}
