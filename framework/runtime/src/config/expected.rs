//! Schemas in words, and what was probably meant.

use serde_json::Value;

use super::schema::Subschema;

/// What `schema` takes: "a whole number from 1 to 64". `None` if it does not say.
pub(super) fn expected(schema: Subschema<'_>) -> Option<String> {
    if schema.slot().is_some() {
        let tag = schema.keyword("default").and_then(|default| default["type"].as_str());
        let example = tag.map(|tag| format!(", such as {{ type = \"{tag}\" }}"));
        return Some(format!("a table with a `type`{}", example.unwrap_or_default()));
    }
    if let Some(choices) = schema.choices() {
        return Some(one_of(choices));
    }
    if let Some(branches) = schema.branches() {
        let each: Vec<String> = branches.into_iter().filter_map(expected).collect();
        return (!each.is_empty()).then(|| each.join(" or "));
    }
    let text = match schema.keyword("type")?.as_str()? {
        "integer" => format!("a whole number{}", range(schema)),
        "number" => format!("a number{}", range(schema)),
        "boolean" => "true or false".to_owned(),
        "string" => string(schema),
        "array" => list(schema),
        "object" => "a table".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// "one of `a`, `b`", or "`a`" alone.
pub(super) fn one_of<'a>(choices: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = choices.into_iter().map(|choice| format!("`{choice}`")).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

fn range(schema: Subschema<'_>) -> String {
    let limit = |keyword| schema.keyword(keyword);
    match (limit("minimum"), limit("maximum")) {
        (Some(least), Some(most)) => return format!(" from {least} to {most}"),
        (Some(least), None) if limit("exclusiveMaximum").is_none() => {
            return format!(" of at least {least}");
        }
        (None, Some(most)) if limit("exclusiveMinimum").is_none() => {
            return format!(" of at most {most}");
        }
        _ => {}
    }
    let words = [
        ("minimum", "of at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "of at most"),
        ("exclusiveMaximum", "below"),
    ];
    let parts: Vec<String> = words
        .into_iter()
        .filter_map(|(keyword, words)| limit(keyword).map(|limit| format!(" {words} {limit}")))
        .collect();
    parts.join(" and")
}

fn string(schema: Subschema<'_>) -> String {
    let minimum = schema.keyword("minLength").and_then(Value::as_u64);
    match (schema.keyword("pattern").and_then(Value::as_str), minimum) {
        (Some(pattern), _) => format!("a string like `{pattern}`"),
        (None, Some(1)) => "a string that is not empty".to_owned(),
        (None, Some(minimum)) => format!("a string of at least {minimum} characters"),
        (None, None) => "a string".to_owned(),
    }
}

fn list(schema: Subschema<'_>) -> String {
    let limit = |keyword| schema.keyword(keyword).and_then(Value::as_u64);
    let count = match (limit("minItems"), limit("maxItems")) {
        (Some(least), Some(most)) if least == most => format!(" of {least} values"),
        (Some(least), Some(most)) => format!(" of {least} to {most} values"),
        (Some(least), None) => format!(" of at least {least} values"),
        (None, Some(most)) => format!(" of at most {most} values"),
        (None, None) => String::new(),
    };
    match schema.child("0").and_then(expected) {
        Some(each) => format!("a list{count}, each {each}"),
        None => format!("a list{count}"),
    }
}

/// What is there instead: "the string \"x\"".
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::String(text) if text.chars().count() <= 40 => format!("the string {text:?}"),
        Value::String(_) => "a long string".to_owned(),
        leaf => format!("`{leaf}`"),
    }
}

/// The one of `known` that `written` was probably meant to be.
pub(super) fn meant<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['_', ' '], "-");
    let written = plain(written);
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&written, &plain(name)), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// The same as help.
pub(super) fn did_you_mean(name: Option<&str>) -> Option<String> {
    name.map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(schema: Value) -> Option<String> {
        expected(Subschema::root(&schema))
    }

    #[test]
    fn schemas_are_said_in_words() {
        let cases = [
            (
                json!({ "type": "integer", "minimum": 1, "maximum": 64 }),
                "a whole number from 1 to 64",
            ),
            (json!({ "type": "number", "minimum": 0.5 }), "a number of at least 0.5"),
            (
                json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
                "a number above 0 and of at most 1",
            ),
            (json!({ "type": "string", "minLength": 1 }), "a string that is not empty"),
            (
                json!({ "oneOf": [{ "const": "a" }, { "enum": ["b", "c"] }] }),
                "one of `a`, `b`, `c`",
            ),
            (
                json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
                "a string or a whole number",
            ),
            (
                json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 }),
                "a list of 2 values, each a number",
            ),
            (
                json!({ "$ref": "#/$defs/x", "$defs": { "x": { "type": "boolean" } } }),
                "true or false",
            ),
        ];
        for (schema, text) in cases {
            assert_eq!(words(schema).as_deref(), Some(text));
        }
        assert_eq!(words(json!({})), None);
        // A ring of references ends.
        assert_eq!(words(json!({ "$ref": "#" })), None);
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["quantizer", "predictor", "micro_batch"];
        assert_eq!(meant("quantiser", known), Some("quantizer"));
        assert_eq!(meant("microBatch", known), Some("micro_batch"));
        assert_eq!(meant("colour", known), None);
    }
}
