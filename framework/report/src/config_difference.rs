//! What differs between the configs of the variants.

use serde_json::Value;

use crate::comparison::Variant;

/// A key whose value is not the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The dotted path of the key.
    pub(crate) key: String,
    /// Its value in each variant, as JSON; `None` where it is not set.
    pub(crate) values: Vec<Option<String>>,
}

/// Every key whose value is not the same in all variants, in the order in which they come.
pub(crate) fn differences(variants: &[Variant]) -> Vec<Difference> {
    let configs: Vec<Vec<(String, String)>> =
        variants.iter().map(|variant| leaves(&variant.config)).collect();
    let mut found: Vec<Difference> = Vec::new();
    for (key, _) in configs.iter().flatten() {
        let of = |config: &Vec<(String, String)>| {
            config.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
        };
        let values: Vec<Option<String>> = configs.iter().map(of).collect();
        let is_new = !found.iter().any(|difference| difference.key == *key);
        if is_new && values.iter().any(|value| *value != values[0]) {
            found.push(Difference { key: key.clone(), values });
        }
    }
    found
}

/// The values of `config` that are no tables, with their dotted keys.
fn leaves(config: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), config)];
    while let Some((key, value)) = open.pop() {
        match value {
            Value::Object(table) if !table.is_empty() => {
                let within = |name: &String| match key.as_str() {
                    "" => name.clone(),
                    key => format!("{key}.{name}"),
                };
                open.extend(table.iter().rev().map(|(name, value)| (within(name), value)));
            }
            value => found.push((key, value.to_string())),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variant(config: Value) -> Variant {
        Variant { name: String::new(), config, runs: Vec::new() }
    }

    #[test]
    fn what_is_equal_everywhere_is_left_out() {
        let variants = [
            variant(
                json!({"schema": 1, "device": {"selector": {"type": "all", "embedding": false}}}),
            ),
            variant(
                json!({"schema": 1, "device": {"selector": {"type": "loss-tokens"}}, "new": [1]}),
            ),
        ];
        let found = differences(&variants);
        let text = |value: &str| Some(value.to_owned());
        let expected = [
            ("device.selector.type", [text("\"all\""), text("\"loss-tokens\"")]),
            ("device.selector.embedding", [text("false"), None]),
            ("new", [None, text("[1]")]),
        ];
        let expected =
            expected.map(|(key, values)| Difference { key: key.into(), values: values.into() });
        assert_eq!(found, expected);
        assert_eq!(differences(&variants[..1]), []);
        assert_eq!(differences(&[]), []);
    }
}
