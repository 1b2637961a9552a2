//! `[plugins]`: libraries that are loaded before the rest of a config is looked at.
//!
//! A component of a library is known to serde as one of the type `loaded`, for typetag knows only what is
//! linked in. People never see that: [`wrap`] comes after the checks, [`unwrap`] before anything is shown.

use std::path::{Path, PathBuf};

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Registry, Slot};
use mobillm_plugin::{Library, LibraryError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::errors::{ConfigErrors, Mistake};
use super::layers::{self, Layers};
use super::schema::{self, PATH_KEYWORD, Subschema};
use super::tree::{Content, Node};

/// The `[plugins]` table: what is loaded beside what is linked in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// Dynamic libraries, each a path relative to this file. Their code runs with all rights of this program, as soon
    /// as the config is read.
    #[schemars(schema_with = "paths")]
    pub load: Vec<PathBuf>,
    /// Seconds that a call of theirs may take once they are loaded. After that the run is asked to stop, and 10 s later the
    /// program ends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub patience_seconds: u64,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self { load: Vec::new(), patience_seconds: 60 }
    }
}

impl PluginsConfig {
    /// Whether it says nothing, and so is not written.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn paths(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1, (PATH_KEYWORD): true } })
}

/// The plugins that a config may name, and the libraries that some of them come from.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    /// What there is, by slot and tag.
    pub registry: Registry,
    /// What was loaded, in that order.
    pub libraries: Vec<&'static Library>,
}

impl Plugins {
    /// Those that are linked in.
    pub fn new(registry: Registry) -> Self {
        Self { registry, libraries: Vec::new() }
    }

    /// The same with those that the config `path` loads, whatever else is wrong with it.
    ///
    /// # Errors
    /// If the config cannot be read, or a library not be loaded.
    pub fn of_config(path: &Path, registry: &Registry) -> Result<Self, ConfigErrors> {
        let wrong = |mistakes| ConfigErrors::new(path.display().to_string(), mistakes);
        let mut mistakes = Vec::new();
        let tree = match layers::read(path, &mut mistakes) {
            Some(Layers { tree, lacks_base: false }) => tree,
            _ => return Err(wrong(mistakes)),
        };
        let (plugins, not_loaded) = Self::of_tree(&tree, registry);
        if not_loaded.is_empty() { Ok(plugins) } else { Err(wrong(not_loaded)) }
    }

    /// Loads the library at `path`, which a user has named: its code runs in this process from now on. One that is
    /// loaded already is not loaded again.
    ///
    /// # Errors
    /// If it cannot be loaded, or a tag of its is taken.
    pub fn load(&mut self, path: &Path) -> Result<(), LibraryError> {
        let library = Library::named_by_user(path)?;
        if !self.libraries.iter().any(|known| std::ptr::eq(*known, library)) {
            library.register(&mut self.registry)?;
            self.libraries.push(library);
        }
        Ok(())
    }

    /// What `plugins.load` of `tree` names, and what of it cannot be loaded. What is no list of paths its schema
    /// complains about.
    pub(super) fn of_tree(tree: &Node, registry: &Registry) -> (Self, Vec<Mistake>) {
        let (mut plugins, mut mistakes) = (Self::new(registry.clone()), Vec::new());
        let Some(Content::List(items)) = tree.find("plugins.load").map(|node| &node.content) else {
            return (plugins, mistakes);
        };
        for (index, item) in items.iter().enumerate() {
            let Some(written) = item.as_str().filter(|written| !written.is_empty()) else {
                continue;
            };
            if let Err(error) = plugins.load(&item.at.folder().join(written)) {
                let diagnostic =
                    Diagnostic::new(format!("plugins.load[{index}]"), error.to_string());
                mistakes.push(Mistake::new(item.at.clone(), diagnostic));
            }
        }
        (plugins, mistakes)
    }
}

/// `{ type, ..options }` as serde reads a component that is loaded.
pub(super) fn wrap(component: &mut Value, slot: Slot, registry: &Registry) {
    if let Value::Object(members) = component.take() {
        let mut options = of_component(members, slot, registry);
        let tag = options.shift_remove("type").unwrap_or_default();
        *component = json!({ "type": "loaded", "tag": tag, "options": options });
    }
}

/// What [`wrap`] was given.
pub(super) fn unwrap(component: &mut Value) {
    if let Value::Object(mut members) = component.take() {
        let mut whole = Map::from_iter([("type".to_owned(), members["tag"].take())]);
        if let Value::Object(options) = members["options"].take() {
            whole.extend(options);
        }
        *component = Value::Object(whole);
    }
}

/// A component as a config twin that is linked in would write it, `type` first and then its options in the order of
/// their declaration: so a pipeline has the same fingerprint whether its parts are loaded or linked in.
fn of_component(
    members: Map<String, Value>,
    slot: Slot,
    registry: &Registry,
) -> Map<String, Value> {
    let tag = members.get("type").and_then(Value::as_str).unwrap_or_default();
    match registry.entry(slot, tag).map(schema::options) {
        Some(options) => of_table(members, Subschema::root(&options), registry),
        None => members,
    }
}

fn of_table(
    mut members: Map<String, Value>,
    schema: Subschema<'_>,
    registry: &Registry,
) -> Map<String, Value> {
    let schema = schema.chosen(|tag| members.get(tag)?.as_str());
    let declared = std::iter::once("type").chain(schema.names());
    let mut ordered: Map<_, _> =
        declared.filter_map(|key| members.shift_remove_entry(key)).collect();
    ordered.extend(members);
    for (key, member) in &mut ordered {
        if let Some(schema) = schema.child(key) {
            in_order(member, schema, registry);
        }
    }
    ordered
}

fn in_order(value: &mut Value, schema: Subschema<'_>, registry: &Registry) {
    match value {
        Value::Object(members) => {
            let members = std::mem::take(members);
            *value = Value::Object(match schema.slot() {
                Some(slot) => of_component(members, slot, registry),
                None => of_table(members, schema, registry),
            });
        }
        Value::Array(items) => {
            if let Some(schema) = schema.child("") {
                items.iter_mut().for_each(|item| in_order(item, schema, registry));
            }
        }
        _ => {}
    }
}
