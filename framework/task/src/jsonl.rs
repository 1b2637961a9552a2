//! One JSON object a line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::config::{Column, Columns, quoted};
use crate::error::{Place, Problem};
use crate::table::Cells;

/// The wanted cells of each line that is not blank.
pub(crate) fn cells<'a>(
    text: &'a str,
    columns: &'a Columns,
) -> impl Iterator<Item = Result<Cells<'a>, Problem>> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(line, number)| {
        pick(line, columns, number).map_err(|message| Problem::in_line(number, message))
    })
}

fn pick<'a>(line: &str, columns: &Columns, number: u64) -> Result<Cells<'a>, String> {
    let object: Object = serde_json::from_str(line).map_err(|error| not_an_object(&error))?;
    let text = |column: &Column| match object.value(column)? {
        Value::String(text) => Ok(Cow::Owned(text.clone())),
        other => Err(format!("column {column}: expected a string, got {}", kind(other))),
    };
    let label = match object.value(&columns.label)? {
        Value::String(label) => label.clone(),
        value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
        other => {
            let column = &columns.label;
            return Err(format!(
                "column {column}: expected a string or a number, got {}",
                kind(other)
            ));
        }
    };
    Ok(Cells {
        place: Place::Line(number),
        text: text(&columns.text)?,
        pair: columns.pair.as_ref().map(text).transpose()?,
        label: label.into(),
    })
}

fn not_an_object(error: &serde_json::Error) -> String {
    // The parser counts lines within this one line; only its column says something.
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or_default();
    format!("expected one JSON object on the line: {reason} (at byte {})", error.column())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// An object that still knows when a key is there twice.
struct Object(Vec<(String, Value)>);

impl Object {
    fn value(&self, column: &Column) -> Result<&Value, String> {
        let Column::Name(name) = column else {
            return Err(format!(
                "column {column} is a number, but JSONL has names: {}",
                self.names()
            ));
        };
        let mut found = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => Err(format!("column {column} is there twice")),
            (None, _) => Err(format!("column {column} is not there; the row has {}", self.names())),
        }
    }

    fn names(&self) -> String {
        match self.0.as_slice() {
            [] => "no columns".to_owned(),
            entries => quoted(entries.iter().map(|(key, _)| key)),
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{classification, regression};

    fn message(line: &str) -> String {
        pick(line, &classification().columns, 1).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_row_has_its_cells_and_line() {
        let columns = regression().columns;
        let text = "{\"text\": \"a\", \"pair\": \"b\", \"label\": 4.5}\n\n \r\n\
                    {\"label\": \"x\", \"more\": [1], \"pair\": \"\", \"text\": \"c\\nd\"}";
        let rows: Vec<Cells> = cells(text, &columns).map(Result::unwrap).collect();
        assert_eq!((rows[0].place, rows[0].label.as_ref()), (Place::Line(1), "4.5"));
        assert_eq!((rows[1].place, rows[1].text.as_ref()), (Place::Line(4), "c\nd"));
        assert_eq!(rows[1].pair.as_deref(), Some(""));
    }

    #[test]
    fn what_is_not_an_object_says_where() {
        let message = message("{\"text\": nope}");
        assert_eq!(message, "expected one JSON object on the line: expected ident (at byte 11)");
        assert!(pick("[1]", &classification().columns, 1).is_err());
        assert!(pick("{} {}", &classification().columns, 1).is_err());
    }

    #[test]
    fn columns_are_there_exactly_once() {
        assert_eq!(
            message("{\"body\": \"a\", \"label\": 1}"),
            "column `text` is not there; the row has `body`, `label`"
        );
        assert_eq!(
            message("{\"text\": \"a\", \"text\": \"b\", \"label\": 1}"),
            "column `text` is there twice"
        );
        assert_eq!(message("{}"), "column `label` is not there; the row has no columns");
    }

    #[test]
    fn cells_have_their_types() {
        assert_eq!(
            message("{\"text\": 3, \"label\": 1}"),
            "column `text`: expected a string, got a number"
        );
        assert_eq!(
            message("{\"text\": \"a\", \"label\": null}"),
            "column `label`: expected a string or a number, got null"
        );
    }
}
