//! Checks a tree against the schemas of the skeleton and of every plugin in it.
//!
//! Each component is checked against the schema of its own plugin, found by `type`: one `oneOf` over
//! all plugins would say of a typo only that no plugin fits.

use std::borrow::Cow;
use std::collections::btree_map::Entry;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Registry, Slot};
use serde_json::Value;

use super::errors::Mistake;
use super::expected::{did_you_mean, expected, found, meant, one_of};
use super::schema::{self, PATH_KEYWORD, Subschema};
use super::tree::{Content, Node, join};

/// What a check found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Everything that is wrong.
    pub mistakes: Vec<Mistake>,
    /// Key paths of the options that plugins marked as files.
    pub files: Vec<String>,
    /// Key paths and slots of the components that come from a dynamic library. What such a component has in its
    /// options goes there as it is, components too.
    pub dynamic: Vec<(String, Slot)>,
    /// Key paths of what nobody wrote and was put in.
    pub implied: Vec<String>,
    /// Key paths of the tables in which there are unknown keys.
    pub with_strangers: Vec<String>,
}

/// What a config names that could not be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lacks {
    /// A library: a plugin may be unknown because it is in there.
    pub library: bool,
    /// A base: whatever is missing may stand there.
    pub base: bool,
}

/// Puts implied components and tables into `tree`, unless a base that it `lacks` may have others, and checks it.
pub(super) fn check(tree: &mut Node, registry: &Registry, lacks: Lacks) -> Checked {
    let skeleton = schema::skeleton();
    let found = Checked::default();
    let mut checker = Checker { registry, lacks, skeleton: &skeleton, in_dynamic: false, found };
    checker.options(tree, &skeleton, "");
    checker.found
}

/// Where a plugin may be that is not here.
const NOT_HERE: &str = "others must be built in (cargo features) or loaded (`[plugins] load`)";

/// The same if a library could not be loaded.
const OF_A_LIBRARY: &str =
    "perhaps the library that could not be loaded has it: see `plugins.load`";

struct Checker<'a> {
    registry: &'a Registry,
    lacks: Lacks,
    skeleton: &'a Value,
    /// Whether these are options of a component that comes from a dynamic library.
    in_dynamic: bool,
    found: Checked,
}

impl Checker<'_> {
    /// Checks `node` against `schema`, and the components in it each against its own.
    fn options(&mut self, node: &mut Node, schema: &Value, path: &str) {
        let root = Subschema::root(schema);
        self.components(node, root, path);
        let mut instance = node.to_json();
        // A component's `type` has chosen the schema and is not in it.
        if let (false, Value::Object(members)) = (path.is_empty(), &mut instance) {
            members.shift_remove("type");
        }
        match jsonschema::validator_for(schema) {
            Ok(validator) => {
                let at = Instance { node, schema: root, path: path.into() };
                for error in validator.iter_errors(&instance) {
                    self.explain(&error, &at);
                }
            }
            Err(error) => {
                let message = format!("this plugin's own schema is not valid: {error}");
                self.report(node, Diagnostic::new(path, message).help("tell its author"));
            }
        }
    }

    /// Walks to every slot and file within `node`.
    fn components(&mut self, node: &mut Node, schema: Subschema<'_>, path: &str) {
        match &mut node.content {
            Content::Unusable(_) => {}
            Content::Leaf(_) => {
                if schema.keyword(PATH_KEYWORD).is_some() {
                    self.found.files.push(path.to_owned());
                }
            }
            Content::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.place(item, schema.child(""), &format!("{path}[{index}]"));
                }
            }
            Content::Table(table) => {
                let schema = schema.chosen(|tag| table.get(tag)?.as_str());
                let names = schema.names().filter(|_| !self.lacks.base);
                for key in names {
                    // Serde fills in the others, but for a component whose config twin is not here.
                    let default = match self.in_dynamic {
                        true => schema.member_keyword(key, "default"),
                        false => schema.implied(key),
                    };
                    if let (Some(value), Entry::Vacant(place)) =
                        (default, table.entry(key.to_owned()))
                    {
                        place.insert(Node::implied(value, &node.key));
                        self.found.implied.push(join(path, key));
                    }
                }
                for (key, member) in table {
                    self.place(member, schema.child(key), &join(path, key));
                }
            }
        }
    }

    fn place(&mut self, node: &mut Node, schema: Option<Subschema<'_>>, path: &str) {
        if let Content::Unusable(why) = node.content {
            let expected = schema.and_then(expected);
            return self.report_value(node, Diagnostic { expected, ..Diagnostic::new(path, why) });
        }
        // Where any value is right, one that cannot be used still is not.
        let schema = schema.unwrap_or(Subschema::root(&Value::Null));
        match schema.slot() {
            Some(slot) => self.component(node, slot, path),
            None => self.components(node, schema, path),
        }
    }

    /// Checks the component `node` of `slot`. What is no table its table's schema complains about.
    fn component(&mut self, node: &mut Node, slot: Slot, path: &str) {
        let Some(table) = node.table() else { return };
        let registry = self.registry;
        let tags: Vec<&str> = registry.of(slot).map(|entry| entry.tag).collect();
        let known = match tags.is_empty() {
            true => format!("no {slot}, for this program has none"),
            false => one_of(tags.iter().copied()),
        };
        let path_of_type = join(path, "type");
        let Some(tag) = table.get("type") else {
            return self.missing(node, path_of_type, Some(known));
        };
        let Some(name) = tag.as_str() else {
            return self.wrong_choice(tag, &path_of_type, &tags);
        };
        match registry.entry(slot, name) {
            Some(entry) => {
                let outside = !self.in_dynamic;
                if entry.loaded && outside {
                    self.found.dynamic.push((path.to_owned(), slot));
                }
                self.in_dynamic |= entry.loaded;
                self.options(node, &schema::options(entry), path);
                self.in_dynamic &= !outside;
            }
            None => {
                let message = format!("this program has no {slot} `{name}`");
                let remedy = registry.remedy(slot, name).map(str::to_owned);
                let help = remedy.or_else(|| did_you_mean(meant(name, tags)));
                let diagnostic = Diagnostic::new(path_of_type, message);
                let diagnostic = match help {
                    Some(help) => diagnostic.expected(known).help(help),
                    // The base may load it.
                    None if self.lacks.base => return,
                    None if self.lacks.library => diagnostic.help(OF_A_LIBRARY),
                    None => diagnostic.expected(known).help(NOT_HERE),
                };
                self.report_value(tag, diagnostic);
            }
        }
    }

    /// Turns an error of the validator into mistakes with places.
    fn explain(&mut self, error: &ValidationError<'_>, root: &Instance<'_>) {
        let path = error.instance_path();
        let at = root.descend(path);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for key in unexpected {
                    self.unknown_key(key, &at);
                }
            }
            // What the validator says of a table that has no options at all; it names no key.
            ValidationErrorKind::FalseSchema => {
                let keys = at.node.table().into_iter().flatten().map(|(key, _)| key);
                for key in keys.filter(|key| *key != "type") {
                    self.unknown_key(key, &at);
                }
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let expected = at.schema.child(key).and_then(expected);
                self.missing(at.node, join(&at.path, key), expected);
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                self.no_alternative(error, context, &at, root);
            }
            _ => self.wrong_value(error, &at),
        }
    }

    /// Explains why none of several alternatives fits: by the one that was meant, if that is clear.
    fn no_alternative(
        &mut self,
        error: &ValidationError<'_>,
        alternatives: &[Vec<ValidationError<'_>>],
        at: &Instance<'_>,
        root: &Instance<'_>,
    ) {
        let tagged = at.schema.tagged().filter(|_| at.node.table().is_some());
        let meant = match &tagged {
            Some((tag, values)) => match at.node.child(tag) {
                None => {
                    let expected = one_of(values.iter().copied());
                    return self.missing(at.node, join(&at.path, tag), Some(expected));
                }
                Some(node) => match values.iter().position(|value| node.as_str() == Some(value)) {
                    None => return self.wrong_choice(node, &join(&at.path, tag), values),
                    Some(index) => alternatives.get(index),
                },
            },
            None => {
                let path = error.instance_path().as_str();
                let fits = |errors: &&Vec<ValidationError<'_>>| {
                    errors.iter().all(|error| !is_about_the_kind(error, path))
                };
                // Only one alternative is of this kind at all.
                let mut fitting = alternatives.iter().filter(fits);
                fitting.next().filter(|_| fitting.next().is_none())
            }
        };
        match meant {
            Some(errors) => errors.iter().for_each(|error| self.explain(error, root)),
            None => self.wrong_value(error, at),
        }
    }

    /// `node` at `path` is none of `choices`.
    fn wrong_choice(&mut self, node: &Node, path: &str, choices: &[&str]) {
        let help = node.as_str().and_then(|name| meant(name, choices.iter().copied()));
        let diagnostic = Diagnostic::new(path, format!("got {}", found(&node.to_json())))
            .expected(one_of(choices.iter().copied()));
        self.report_value(node, Diagnostic { help: did_you_mean(help), ..diagnostic });
    }

    fn unknown_key(&mut self, key: &str, at: &Instance<'_>) {
        self.found.with_strangers.push(at.path.to_string());
        let schema = at.chosen();
        let help = match meant(key, schema.names()) {
            Some(name) => did_you_mean(Some(name)),
            None => match elsewhere(Subschema::root(self.skeleton), key, "") {
                Some(path) => did_you_mean(Some(&path)),
                None if schema.names().next().is_none() => Some("there are no options here".into()),
                None => Some(format!("expected {}", one_of(schema.names()))),
            },
        };
        let diagnostic = Diagnostic::new(join(&at.path, key), "unknown key");
        let node = at.node.child(key).unwrap_or(at.node);
        self.report(node, Diagnostic { help, ..diagnostic });
    }

    fn wrong_value(&mut self, error: &ValidationError<'_>, at: &Instance<'_>) {
        let value = error.instance();
        // It cannot be used, which is reported.
        if value.is_null() {
            return;
        }
        let expected = expected(at.schema).or_else(|| Some(error.to_string()));
        let choices = at.schema.choices().unwrap_or_default();
        let help = value.as_str().and_then(|written| match at.schema.slot() {
            Some(slot) => self.as_table(slot, written),
            None => did_you_mean(meant(written, choices)),
        });
        let diagnostic = Diagnostic::new(at.path.as_ref(), format!("got {}", found(value)));
        self.report_value(at.node, Diagnostic { expected, help, ..diagnostic });
    }

    /// How a plugin is written of which there is only the `tag`.
    fn as_table(&self, slot: Slot, tag: &str) -> Option<String> {
        let known = self.registry.of(slot).map(|entry| entry.tag);
        meant(tag, known).map(|tag| format!("write {{ type = \"{tag}\" }}"))
    }

    /// There is no `path` in `node`.
    fn missing(&mut self, node: &Node, path: String, expected: Option<String>) {
        if !self.lacks.base {
            self.report(node, Diagnostic { expected, ..Diagnostic::new(path, "missing") });
        }
    }

    fn report(&mut self, node: &Node, diagnostic: Diagnostic) {
        self.found.mistakes.push(Mistake::new(node.key.clone(), diagnostic));
    }

    fn report_value(&mut self, node: &Node, diagnostic: Diagnostic) {
        self.found.mistakes.push(Mistake::new(node.at.clone(), diagnostic));
    }
}

/// Whether `error` says that the value at `path` is of another kind altogether.
fn is_about_the_kind(error: &ValidationError<'_>, path: &str) -> bool {
    let of_kind = matches!(
        error.kind(),
        ValidationErrorKind::Type { .. }
            | ValidationErrorKind::Constant { .. }
            | ValidationErrorKind::Enum { .. }
    );
    of_kind && error.instance_path().as_str() == path
}

/// The key path of the key `name` anywhere below `schema`.
fn elsewhere(schema: Subschema<'_>, name: &str, path: &str) -> Option<String> {
    schema.names().find_map(|key| {
        let path = join(path, key);
        if key == name {
            return Some(path);
        }
        elsewhere(schema.child(key)?, name, &path)
    })
}

/// A value with its schema and key path.
#[derive(Clone)]
struct Instance<'a> {
    node: &'a Node,
    schema: Subschema<'a>,
    path: Cow<'a, str>,
}

impl Instance<'_> {
    /// Of alternatives that a tag tells apart, the one that was chosen.
    fn chosen(&self) -> Subschema<'_> {
        self.schema.chosen(|tag| self.node.child(tag)?.as_str())
    }

    /// What stands at `segments` below, as far as there is something.
    fn descend(&self, path: &Location) -> Self {
        let mut at = self.clone();
        for segment in path.segments() {
            let (key, path) = match segment {
                LocationSegment::Property(key) => (key.to_string(), join(&at.path, &key)),
                LocationSegment::Index(index) => {
                    (index.to_string(), format!("{}[{index}]", at.path))
                }
            };
            let (Some(node), Some(schema)) = (at.node.child(&key), at.schema.child(&key)) else {
                break;
            };
            at = Self { node, schema, path: path.into() };
        }
        at
    }
}
