//! Which options there are, in words: made of the schemas that configs are checked with.
//!
//! [`component`] describes one plugin, [`markdown`] everything that a config may say.
//!
//! ```
//! use mobillm::config::reference;
//! use mobillm_core::registry::{Registry, Slot};
//!
//! let mut registry = Registry::new();
//! mobillm_quantizers::register(&mut registry)?;
//! let nf4 = registry.entry(Slot::Quantizer, "nf4").map(reference::component).unwrap();
//! assert_eq!(nf4.options[0].key, "block");
//! assert_eq!(nf4.options[0].takes, "a whole number from 16 to 4096");
//! assert!(nf4.example.starts_with("[device.quantizer]\ntype = \"nf4\"\nblock = 64\n"));
//! # Ok::<(), mobillm_core::registry::DuplicateTag>(())
//! ```

mod markdown;

use mobillm_core::registry::{Entry, Slot};
use serde::Serialize;
use serde_json::{Map, Value};

use super::expected::{expected, one_of};
use super::schema::{self, Subschema};
use super::tree::join;

pub use markdown::markdown;

/// A plugin in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComponentHelp {
    /// The place it fills.
    pub slot: Slot,
    /// Its `type`.
    pub tag: String,
    /// The crate or library that it comes from.
    pub origin: String,
    /// Whether it comes from a dynamic library.
    pub loaded: bool,
    /// What it is: Markdown, the first paragraph by itself tells.
    pub help: String,
    /// Its options, in the order of their declaration, those of nested tables after their table.
    pub options: Vec<OptionHelp>,
    /// A table of a config: every default, and of what has none only what must be there.
    pub example: String,
}

/// An option in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptionHelp {
    /// Its key path within the table: `block`, `architecture.rank`.
    pub key: String,
    /// Of a table whose options depend on a choice: with which choices there is this one. Empty: always.
    pub of: Vec<String>,
    /// What it takes: `a whole number from 16 to 4096`.
    pub takes: String,
    /// The choices that have help of their own.
    pub choices: Vec<ChoiceHelp>,
    /// The slot that it is, if it takes a component.
    pub slot: Option<Slot>,
    /// What it is if nobody writes it. A table's is told by its members.
    pub default: Option<Value>,
    /// Whether it must be written.
    pub required: bool,
    /// What it is for: Markdown, the first paragraph by itself tells.
    pub help: String,
}

/// One of the values of an option.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChoiceHelp {
    /// The value.
    pub value: String,
    /// What it means.
    pub help: String,
}

/// `entry` in words.
pub fn component(entry: &Entry) -> ComponentHelp {
    let options = schema::options(entry);
    let schema = Subschema::root(&options);
    let mut table = Map::from_iter([("type".to_owned(), Value::from(entry.tag))]);
    table.extend(example(schema));
    ComponentHelp {
        slot: entry.slot,
        tag: entry.tag.to_string(),
        origin: entry.origin.to_string(),
        loaded: entry.loaded,
        help: help(schema),
        options: options_of(schema),
        example: at(places(entry.slot)[0], table),
    }
}

/// The options of a config's tables, by table: `("training", [epochs, batch, ...])`. A component is one
/// option of its table; what it takes is its plugin's ([`component`]).
pub fn tables() -> Vec<(String, Vec<OptionHelp>)> {
    let skeleton = schema::skeleton();
    let root = Subschema::root(&skeleton);
    let table = |key: &str| root.child(key).map(|table| (key.to_owned(), options_of(table)));
    root.names().filter_map(table).collect()
}

/// Where in a config a component of `slot` stands.
pub fn places(slot: Slot) -> &'static [&'static str] {
    match slot {
        Slot::Backbone => &["device.backbone"],
        Slot::Selector => &["device.selector"],
        Slot::PrivacyPolicy => &["device.privacy"],
        Slot::Quantizer => &["device.quantizer"],
        Slot::Transport => &["link.transport"],
        Slot::SideNetwork => &["server.side_network", "device.predictor"],
    }
}

/// The first paragraph of a help text, in one line.
pub fn summary(help: &str) -> String {
    let paragraph: Vec<&str> = help.lines().take_while(|line| !line.trim().is_empty()).collect();
    paragraph.join(" ")
}

/// `value` as it stands in a config.
pub fn toml(value: &Value) -> String {
    let mut text = String::new();
    match value.serialize(toml::ser::ValueSerializer::new(&mut text)) {
        Ok(_) => text,
        // What TOML cannot say, such as a whole number beyond 63 bits, no config has either.
        Err(_) => value.to_string(),
    }
}

/// `table` as a TOML document in which it is found at `path`.
fn at(path: &str, table: Map<String, Value>) -> String {
    let nested = path
        .rsplit('.')
        .fold(table, |table, key| Map::from_iter([(key.to_owned(), Value::Object(table))]));
    toml::to_string_pretty(&nested).unwrap_or_else(|_| toml(&Value::Object(nested)))
}

fn help(schema: Subschema<'_>) -> String {
    schema.keyword("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The options of the table that `schema` describes.
fn options_of(schema: Subschema<'_>) -> Vec<OptionHelp> {
    let mut options = Vec::new();
    table(schema, "", None, &mut options);
    options
}

/// The options of a table at `path` whose own default is `default`.
fn table(schema: Subschema<'_>, path: &str, default: Option<&Value>, into: &mut Vec<OptionHelp>) {
    let Some((tag, choices)) = schema.tagged() else {
        return members(schema, path, default, None, into);
    };
    let branches = schema.branches().unwrap_or_default();
    let chosen = default.and_then(|table| table.get(tag));
    into.push(OptionHelp {
        key: join(path, tag),
        of: Vec::new(),
        takes: one_of(choices.iter().copied()),
        choices: described(&choices, &branches),
        slot: None,
        default: chosen.cloned(),
        required: chosen.is_none(),
        help: String::new(),
    });
    let mut all: Vec<OptionHelp> = Vec::new();
    for (choice, branch) in choices.iter().zip(branches) {
        let mut own = Vec::new();
        members(branch, path, None, Some(tag), &mut own);
        for option in own {
            // What several choices have in common is told once.
            match all
                .iter_mut()
                .find(|known| OptionHelp { of: Vec::new(), ..(*known).clone() } == option)
            {
                Some(known) => known.of.push((*choice).to_owned()),
                None => all.push(OptionHelp { of: vec![(*choice).to_owned()], ..option }),
            }
        }
    }
    into.extend(all);
}

/// One option for each key but `tag`, those of nested tables after their table.
fn members(
    schema: Subschema<'_>,
    path: &str,
    defaults: Option<&Value>,
    tag: Option<&str>,
    into: &mut Vec<OptionHelp>,
) {
    for key in schema.names().filter(|key| Some(*key) != tag) {
        let Some(child) = schema.child(key) else { continue };
        let path = join(path, key);
        let slot = child.slot();
        let own = || schema.member_keyword(key, "default");
        let default = defaults.and_then(|table| table.get(key)).or_else(own);
        let mut nested = Vec::new();
        if slot.is_none() {
            table(child, &path, default, &mut nested);
        }
        let values = child.choices().unwrap_or_default();
        let help = schema.member_keyword(key, "description").and_then(Value::as_str);
        into.push(OptionHelp {
            key: path,
            of: Vec::new(),
            takes: match slot {
                Some(slot) => format!("a {slot}"),
                None if !nested.is_empty() => "a table".to_owned(),
                None => taken(child),
            },
            choices: described(&values, &child.branches().unwrap_or_default()),
            slot,
            default: default.filter(|_| nested.is_empty()).cloned(),
            required: schema.requires(key) && default.is_none(),
            help: help.unwrap_or_default().to_owned(),
        });
        into.append(&mut nested);
    }
}

/// What a value is: in the words of a mistake, or the only one that there is.
fn taken(schema: Subschema<'_>) -> String {
    let only = || schema.keyword("const").map(|only| format!("`{}`", toml(only)));
    expected(schema).or_else(only).unwrap_or_else(|| "anything".to_owned())
}

/// The choices whose branch has a description.
fn described(choices: &[&str], branches: &[Subschema<'_>]) -> Vec<ChoiceHelp> {
    let all = choices.iter().zip(branches);
    all.map(|(value, branch)| ChoiceHelp { value: (*value).to_owned(), help: help(*branch) })
        .filter(|choice| !choice.help.is_empty())
        .collect()
}

/// Values for the options of a table: the schema's own example of each, else its default, else, if it
/// must be there, the first thing that the schema accepts.
fn example(schema: Subschema<'_>) -> Map<String, Value> {
    let mut table = Map::new();
    let mut schema = schema;
    if let (Some((tag, choices)), Some(branches)) = (schema.tagged(), schema.branches()) {
        table.insert(tag.to_owned(), Value::from(choices[0]));
        schema = branches[0];
    }
    for key in schema.names().filter(|key| !table.contains_key(*key)).collect::<Vec<_>>() {
        let own = schema.member_keyword(key, "examples").and_then(|examples| examples.get(0));
        let known = own.or_else(|| schema.member_keyword(key, "default"));
        let made = || schema.child(key).filter(|_| schema.requires(key)).map(sample);
        if let Some(value) = known.cloned().or_else(made) {
            table.insert(key.to_owned(), value);
        }
    }
    table
}

/// Something that `schema` accepts, as far as that can be told.
fn sample(schema: Subschema<'_>) -> Value {
    if let Some(first) = schema.choices().and_then(|choices| choices.first().copied()) {
        return Value::from(first);
    }
    let count = |keyword| schema.keyword(keyword).and_then(Value::as_u64).unwrap_or_default();
    let least = schema.keyword("minimum").or_else(|| schema.keyword("maximum"));
    match schema.keyword("type").and_then(Value::as_str) {
        Some("integer") => least.cloned().unwrap_or_else(|| Value::from(1)),
        Some("number") => least.cloned().unwrap_or_else(|| Value::from(1.0)),
        Some("boolean") => Value::from(false),
        Some("array") => {
            let items = schema.child("0").map(sample);
            (0..count("minItems")).filter_map(|_| items.clone()).collect()
        }
        Some("string") => Value::from("…"),
        _ => match schema.branches().and_then(|branches| branches.first().copied()) {
            Some(first) if schema.tagged().is_none() => sample(first),
            _ => Value::Object(example(schema)),
        },
    }
}
