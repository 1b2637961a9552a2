//! JSON schemas of configs: what the program checks with, and what editors complete with.

use std::collections::BTreeMap;

use mobillm_core::registry::{Entry, Registry, Slot};
use schemars::{Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::{Map, Value, json};

use super::{Config, SCHEMA};

/// Marks a place that a plugin fills; its value is the slot (`quantizer`). An object as `default`
/// says what stands there if nobody writes anything. A plugin's options may hold such places too:
///
/// ```text
/// #[schemars(with = "()", extend("x-mobillm-slot" = "selector", "default" = { "type": "all" }))]
/// tokens: Box<dyn SelectorConfig>,
/// ```
pub const SLOT_KEYWORD: &str = "x-mobillm-slot";

/// Marks a plugin's option as a file: a relative one starts from the config in which it stands.
///
/// ```text
/// #[schemars(extend("x-mobillm-path" = true))]
/// library: Option<PathBuf>,
/// ```
pub const PATH_KEYWORD: &str = "x-mobillm-path";

pub(super) const SLOTS: [Slot; 6] = [
    Slot::Backbone,
    Slot::Selector,
    Slot::PrivacyPolicy,
    Slot::Quantizer,
    Slot::Transport,
    Slot::SideNetwork,
];

pub(super) fn backbone(_: &mut SchemaGenerator) -> Schema {
    component(Slot::Backbone, "onnxruntime")
}

pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    component(Slot::Selector, "all")
}

pub(super) fn privacy(_: &mut SchemaGenerator) -> Schema {
    component(Slot::PrivacyPolicy, "labels")
}

pub(super) fn quantizer(_: &mut SchemaGenerator) -> Schema {
    component(Slot::Quantizer, "nf4")
}

pub(super) fn transport(_: &mut SchemaGenerator) -> Schema {
    component(Slot::Transport, "in-memory")
}

pub(super) fn side_network(_: &mut SchemaGenerator) -> Schema {
    component(Slot::SideNetwork, "candle")
}

fn component(slot: Slot, default: &str) -> Schema {
    json_schema!({ "type": "object", (SLOT_KEYWORD): slot_name(slot), "default": { "type": default } })
}

fn slot_name(slot: Slot) -> String {
    slot.to_string().replace(' ', "-")
}

/// The schema of all tables, the components' own options left open.
pub(super) fn skeleton() -> Value {
    normalized(schema_for!(Config).into())
}

/// The options of a plugin.
pub(super) fn options(entry: &Entry) -> Value {
    normalized(entry.schema.clone().into())
}

/// TOML has no null: what serde takes as null is simply not written. And of a slot only its mark
/// counts, whatever placeholder schemars was given for a component that has no schema of its own.
fn normalized(mut schema: Value) -> Value {
    normalize(&mut schema);
    schema
}

fn normalize(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Object(schema) => {
            drop_null_branches(schema);
            if schema.get(SLOT_KEYWORD).is_some_and(Value::is_string) {
                schema.retain(|key, _| [SLOT_KEYWORD, "default", "description"].contains(&&**key));
                schema.insert("type".into(), json!("object"));
            }
            schema.values_mut().for_each(normalize);
        }
        _ => {}
    }
}

fn drop_null_branches(schema: &mut Map<String, Value>) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(branches)) = schema.get_mut(keyword) else { continue };
        branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(one)] = branches.as_slice() {
            let one = one.clone();
            schema.remove(keyword);
            for (key, value) in one {
                schema.entry(key).or_insert(value);
            }
        }
    }
}

/// A schema within a document whose `$ref`s it may follow.
#[derive(Clone, Copy)]
pub(super) struct Subschema<'a> {
    document: &'a Value,
    here: &'a Value,
}

impl<'a> Subschema<'a> {
    pub fn root(document: &'a Value) -> Self {
        Self { document, here: document }.followed()
    }

    fn step(self, here: &'a Value) -> Self {
        Self { here, ..self }.followed()
    }

    /// Follows local `$ref`s; a ring of them ends somewhere.
    fn followed(mut self) -> Self {
        for _ in 0..8 {
            let target = self.keyword("$ref").and_then(Value::as_str);
            let pointer = target.and_then(|target| target.strip_prefix('#'));
            match pointer.and_then(|pointer| self.document.pointer(pointer)) {
                // Marks beside a `$ref` count: stop at them.
                Some(here) if self.keyword(SLOT_KEYWORD).is_none() => self.here = here,
                _ => break,
            }
        }
        self
    }

    pub fn keyword(self, name: &str) -> Option<&'a Value> {
        self.here.get(name)
    }

    /// The slot that this place is, if it is one.
    pub fn slot(self) -> Option<Slot> {
        let name = self.keyword(SLOT_KEYWORD)?.as_str()?;
        SLOTS.into_iter().find(|slot| slot_name(*slot) == name)
    }

    /// The keys that are known here.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.keyword("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// The member `key` of a table or the item `key` of a list.
    pub fn child(self, key: &str) -> Option<Self> {
        let known = self.keyword("properties").and_then(|properties| properties.get(key));
        let open = || self.keyword("additionalProperties").or_else(|| self.keyword("items"));
        let own = known.or_else(open).filter(|schema| schema.is_object());
        own.map(|here| self.step(here))
            .or_else(|| self.branches()?.into_iter().find_map(|branch| branch.child(key)))
    }

    /// Whether the member `key` must be there.
    pub fn requires(self, key: &str) -> bool {
        let required = self.keyword("required").and_then(Value::as_array);
        required.is_some_and(|keys| keys.iter().any(|required| required == key))
    }

    /// A keyword of the member `key`: what stands beside its `$ref` counts before what that says.
    pub fn member_keyword(self, key: &str, name: &str) -> Option<&'a Value> {
        let member = self.keyword("properties")?.get(key)?;
        member.get(name).or_else(|| self.step(member).keyword(name))
    }

    /// The object that stands for member `key` if nobody writes one.
    pub fn implied(self, key: &str) -> Option<&'a Value> {
        self.member_keyword(key, "default").filter(|value| value.is_object())
    }

    /// The alternatives of an `anyOf` or `oneOf`.
    pub fn branches(self) -> Option<Vec<Self>> {
        let branches = self.keyword("anyOf").or_else(|| self.keyword("oneOf"))?.as_array()?;
        Some(branches.iter().map(|branch| self.step(branch)).collect())
    }

    /// The key whose value tells the alternatives apart, and that value in each of them.
    pub fn tagged(self) -> Option<(&'a str, Vec<&'a str>)> {
        let branches = self.branches()?;
        let value = |branch: Self, key| branch.child(key)?.keyword("const")?.as_str();
        let tag = branches.first()?.names().find(|key| value(branches[0], key).is_some())?;
        let values: Option<Vec<_>> =
            branches.into_iter().map(|branch| value(branch, tag)).collect();
        Some((tag, values?))
    }

    /// Of alternatives that a tag tells apart, the one that `value` of the tag chooses.
    pub fn chosen<'v>(self, value: impl FnOnce(&str) -> Option<&'v str>) -> Self {
        let branch = || {
            let (tag, values) = self.tagged()?;
            let chosen = value(tag)?;
            let index = values.iter().position(|value| *value == chosen)?;
            self.branches()?.get(index).copied()
        };
        branch().unwrap_or(self)
    }

    /// The strings that are allowed here, if only certain ones are.
    pub fn choices(self) -> Option<Vec<&'a str>> {
        if let Some(only) = self.keyword("const") {
            return only.as_str().map(|only| vec![only]);
        }
        if let Some(values) = self.keyword("enum").and_then(Value::as_array) {
            return values.iter().map(Value::as_str).collect();
        }
        let each: Option<Vec<Vec<&str>>> =
            self.branches()?.into_iter().map(Self::choices).collect();
        each.map(|each| each.concat())
    }
}

/// The JSON schema of a config file, with the plugins of `registry`, for editors.
///
/// It describes one file, whose base may hold what is missing in it: so it requires nothing but
/// `schema`. That nothing is missing from the whole is checked by [`Config::load`].
pub fn schema(registry: &Registry) -> Value {
    let mut schema = skeleton();
    let mut definitions = match schema.get_mut("$defs").map(Value::take) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    for slot in SLOTS {
        definitions.insert(slot_name(slot), one_of_the_plugins(registry, slot));
    }
    for entry in registry.entries() {
        definitions.insert(definition_name(entry), definition(entry));
    }
    schema["$defs"] = Value::Object(definitions);
    relax(&mut schema);
    schema["title"] = json!("mobillm config");
    schema["description"] = json!("A run of mobillm, or a layer over the config that it extends.");
    schema["required"] = json!(["schema"]);
    if let Some(properties) = schema["properties"].as_object_mut() {
        let tables = std::mem::replace(properties, keys_of_a_file());
        properties.extend(tables);
    }
    schema
}

/// What a file may have beside its tables. It is not part of the config that comes of it.
pub(super) fn keys_of_a_file() -> Map<String, Value> {
    let version = json!({ "description": "Version of the config's layout.", "const": SCHEMA });
    let base = json!({
        "description": "A config that this one is laid over, relative to this file. Tables are \
            merged; lists and values replace; another `type` drops the options of the old one.",
        "type": "string",
    });
    Map::from_iter([("schema".to_owned(), version), ("extends".to_owned(), base)])
}

fn definition_name(entry: &Entry) -> String {
    format!("{}.{}", slot_name(entry.slot), entry.tag)
}

/// A component of `slot`: its `type` decides which options it has.
///
/// Editors for TOML (taplo) complete from `properties` and not from `if` and `then`, and from nothing
/// beside an `allOf`. So all options stand in one table for them, and a chain of cases checks.
fn one_of_the_plugins(registry: &Registry, slot: Slot) -> Value {
    let tags: Vec<&str> = registry.of(slot).map(|entry| entry.tag).collect();
    let mut component = json!({ "type": "object", "properties": { "type": { "enum": tags } } });
    for (key, places) in options_of_all(registry, slot) {
        let references: Vec<Value> =
            places.into_iter().map(|place| json!({ "$ref": place })).collect();
        component["properties"][key] = match references.as_slice() {
            [one] => one.clone(),
            _ => json!({ "anyOf": references }),
        };
    }
    let entries: Vec<&Entry> = registry.of(slot).collect();
    let cases = entries.into_iter().rev().fold(None, |other: Option<Value>, entry| {
        let of_this_type = json!({ "type": { "const": entry.tag } });
        let mut case = json!({
            "if": { "required": ["type"], "properties": of_this_type },
            "then": { "$ref": format!("#/$defs/{}", definition_name(entry)) },
        });
        if let Some(other) = other {
            case["else"] = other;
        }
        Some(case)
    });
    if let (Some(component), Some(Value::Object(cases))) = (component.as_object_mut(), cases) {
        component.extend(cases);
    }
    component
}

/// Every option that a plugin of `slot` has, with where its definitions stand; equal ones count once.
fn options_of_all(registry: &Registry, slot: Slot) -> BTreeMap<String, Vec<String>> {
    let mut seen: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in registry.of(slot) {
        let definition = definition(entry);
        let options = definition["properties"].as_object().into_iter().flatten();
        for (key, option) in options.filter(|(key, _)| *key != "type") {
            let seen = seen.entry(key.clone()).or_default();
            if !seen.contains(option) {
                seen.push(option.clone());
                let place = format!("#/$defs/{}/properties/{key}", definition_name(entry));
                places.entry(key.clone()).or_default().push(place);
            }
        }
    }
    places
}

/// The options of a plugin with its `type`, its `$ref`s seen from the whole schema.
fn definition(entry: &Entry) -> Value {
    let mut schema = options(entry);
    rebase(&mut schema, &format!("#/$defs/{}/", definition_name(entry)));
    if let Value::Object(schema) = &mut schema {
        schema.remove("$schema");
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        properties["type"] = json!({ "const": entry.tag });
    }
    schema
}

fn rebase(value: &mut Value, root: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, root)),
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref") {
                *target = target.replacen("#/", root, 1);
            }
            members.values_mut().for_each(|member| rebase(member, root));
        }
        _ => {}
    }
}

/// Drops `required`, for keys may come from a base, and sends each slot to its definition. A table of
/// which a base says the `type` may fit several alternatives.
fn relax(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(relax),
        Value::Object(members) => {
            if members.contains_key("properties") {
                members.remove("required");
            }
            if let Some(Value::String(slot)) = members.remove(SLOT_KEYWORD) {
                members.insert("$ref".into(), Value::from(format!("#/$defs/{slot}")));
            }
            if !members.contains_key("anyOf")
                && let Some(alternatives) = members.remove("oneOf")
            {
                members.insert("anyOf".into(), alternatives);
            }
            for (key, member) in members.iter_mut() {
                if !["if", "not"].contains(&key.as_str()) {
                    relax(member);
                }
            }
        }
        _ => {}
    }
}
