//! A config that was read and held against its schemas: sound, or sound in parts.

use std::path::Path;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::Registry;
use mobillm_task::TaskConfig;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::check::{self, Checked, Lacks};
use super::errors::{ConfigErrors, Mistake};
use super::layers::{self, Layers};
use super::load::{LOCATIONS, Loaded, Location, pointer, replace_path};
use super::plugins::{self, Plugins, PluginsConfig};
use super::tree::{Node, keys};
use super::{Config, SCHEMA};

/// Where the parts of a config came from.
#[derive(Debug)]
pub(crate) struct Origin {
    name: String,
    tree: Node,
}

impl Origin {
    /// What stands at `key`, or else the innermost table that would hold it.
    pub(super) fn nearest(&self, key: &str) -> &Node {
        self.tree.nearest(key)
    }

    /// As [`Loaded::location`].
    pub fn location(&self, key: &str) -> Option<Location> {
        let node = self.nearest(key);
        let written = node.as_str()?;
        Some(match written.strip_prefix("pull:") {
            Some(name) => Location::Pull(name.to_owned()),
            None => Location::Path(node.at.folder().join(written)),
        })
    }

    /// `diagnostic` where its key path leads.
    fn placed(&self, diagnostic: Diagnostic) -> Mistake {
        Mistake::new(self.nearest(&diagnostic.path).at.clone(), diagnostic)
    }

    /// `found`, whose paths are whole key paths, with their places.
    pub fn errors(&self, found: impl IntoIterator<Item = Diagnostic>) -> ConfigErrors {
        let mistakes = found.into_iter().map(|diagnostic| self.placed(diagnostic));
        ConfigErrors::new(&self.name, mistakes.collect())
    }
}

/// A config as it was read, with everything that is wrong with it by itself: nothing but the config files and the
/// libraries that they name was opened. What is sound of it can still be held against its model and its data.
#[derive(Debug)]
pub struct Draft {
    /// The plugins that it may name, those that it has loaded among them.
    pub plugins: Plugins,
    pub(crate) origin: Origin,
    /// Whether a base is not in it, for it could not be read.
    lacks_base: bool,
    checked: Checked,
    /// What serde is given.
    pub(super) written: Value,
    /// The whole, if nothing is wrong with it.
    config: Option<Config>,
}

impl Draft {
    /// Reads the file `path`, lays it over its bases and each of `sets` (`a.b=c`) over the result. Libraries are loaded
    /// as by [`Config::load`].
    ///
    /// # Errors
    /// If there is nothing to check: the file cannot be read or is no TOML.
    pub fn read(path: &Path, sets: &[String], registry: &Registry) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        Self::new(name, |mistakes| layers::read(path, mistakes), sets, registry)
    }

    /// The same of what `read` gives.
    pub(super) fn new(
        name: String,
        read: impl FnOnce(&mut Vec<Mistake>) -> Option<Layers>,
        sets: &[String],
        registry: &Registry,
    ) -> Result<Self, ConfigErrors> {
        let mut mistakes = Vec::new();
        let layers = read(&mut mistakes);
        let over = layers::sets(sets, &mut mistakes);
        let Some(Layers { tree, lacks_base }) = layers else {
            return Err(ConfigErrors::new(name, mistakes));
        };
        let mut tree = match over {
            Some(over) => tree.overlaid(over),
            None => tree,
        };
        let (plugins, mut not_loaded) = Plugins::of_tree(&tree, registry);
        let lacks = Lacks { library: !not_loaded.is_empty(), base: lacks_base };
        let mut checked = check::check(&mut tree, &plugins.registry, lacks);
        mistakes.append(&mut not_loaded);
        checked.mistakes.append(&mut mistakes);
        checked.mistakes.extend(LOCATIONS.iter().filter_map(|key| check_location(&tree, key)));
        let origin = Origin { name, tree };
        let written = Value::Null;
        let mut draft = Self { plugins, origin, lacks_base, checked, written, config: None };
        draft.deserialize();
        Ok(draft)
    }

    /// Finds what no schema expresses.
    fn deserialize(&mut self) {
        let mut found = Vec::new();
        self.written = self.written(&mut found);
        if let Some(task) = self.part::<TaskConfig>("task", &mut found) {
            found.extend(task.check().into_iter().map(|finding| finding.under("task")));
        }
        if self.checked.mistakes.is_empty() && found.is_empty() {
            match serde_path_to_error::deserialize(self.written.clone()) {
                Ok(config) => self.config = Some(config),
                Err(error) => found.push(of_serde(&error)),
            }
        }
        let origin = &self.origin;
        self.checked.mistakes.extend(found.into_iter().map(|found| origin.placed(found)));
    }

    /// The tree as serde reads it. A path that cannot be said goes to `found`.
    fn written(&self, found: &mut Vec<Diagnostic>) -> Value {
        let mut written = self.origin.tree.to_json();
        for key in &self.checked.files {
            let folder = self.origin.nearest(key).at.folder();
            if let Err(error) = replace_path(&mut written, key, |path| Ok(folder.join(path))) {
                found.push(Diagnostic::new(key, error.to_string()));
            }
        }
        for (key, slot) in &self.checked.dynamic {
            if let Some(component) = written.pointer_mut(&pointer(key)) {
                plugins::wrap(component, *slot, &self.plugins.registry);
            }
        }
        written
    }

    /// Seconds that a call of a loaded library may take.
    pub fn patience_seconds(&self) -> u64 {
        let seconds = self.part("plugins.patience_seconds", &mut Vec::new());
        seconds.flatten().unwrap_or(PluginsConfig::default().patience_seconds)
    }

    /// Everything that is wrong with it by itself, with what was found later.
    pub(crate) fn errors(&self, found: Vec<Diagnostic>) -> ConfigErrors {
        let found = found.into_iter().map(|diagnostic| self.origin.placed(diagnostic));
        let mistakes = self.checked.mistakes.iter().cloned().chain(found);
        ConfigErrors::new(&self.origin.name, mistakes.collect())
    }

    /// Whether nothing is wrong with it.
    pub(crate) fn is_sound(&self) -> bool {
        self.config.is_some()
    }

    /// What stands at `key`, `null` if nothing does, as long as it is sound. What serde finds wrong goes to `found`.
    pub(crate) fn part<T: DeserializeOwned>(
        &self,
        key: &str,
        found: &mut Vec<Diagnostic>,
    ) -> Option<T> {
        if !self.is_sound_at(key) {
            return None;
        }
        let written = self.written.pointer(&pointer(key)).cloned().unwrap_or_default();
        let part = serde_path_to_error::deserialize(written);
        part.map_err(|error| found.push(of_serde(&error).under(key))).ok()
    }

    /// Whether nothing is wrong at `key`, above it or below it. What nobody wrote beside a key that nobody knows was
    /// perhaps meant by that key, and a base that could not be read may say anything but what stands over it.
    fn is_sound_at(&self, key: &str) -> bool {
        let node = self.origin.tree.find(key);
        if self.lacks_base && node.is_none_or(|node| node.table().is_some()) {
            return false;
        }
        let path: Vec<&str> = keys(key).collect();
        let is_about = |mistake: &Mistake| {
            keys(&mistake.diagnostic.path).zip(&path).all(|(wrong, key)| wrong == *key)
        };
        let is_meant_elsewhere = (1..=path.len()).any(|depth| {
            let (place, table) = (path[..depth].join("."), path[..depth - 1].join("."));
            let was_written =
                self.origin.tree.find(&place).is_some() && !self.checked.implied.contains(&place);
            !was_written && self.checked.with_strangers.contains(&table)
        });
        !is_meant_elsewhere && !self.checked.mistakes.iter().any(is_about)
    }

    /// The config, if nothing is wrong with it by itself.
    ///
    /// # Errors
    /// With everything that is.
    pub fn finish(self) -> Result<Loaded, ConfigErrors> {
        let Some(config) = self.config else { return Err(self.errors(Vec::new())) };
        let Self { plugins, origin, checked: Checked { files, dynamic, .. }, .. } = self;
        let unsayable = |message: String| origin.errors([Diagnostic::new("config", message)]);
        let mut resolved = resolved(&config).map_err(|error| unsayable(error.to_string()))?;
        for component in dynamic.iter().map(|(key, _)| pointer(key)) {
            if let Some(component) = resolved.pointer_mut(&component) {
                plugins::unwrap(component);
            }
        }
        for key in &files {
            if let (Some(value), Some(written)) =
                (resolved.pointer_mut(&pointer(key)), origin.nearest(key).as_str())
            {
                *value = Value::from(written);
            }
        }
        let toml =
            toml::to_string_pretty(&resolved).map_err(|error| unsayable(error.to_string()))?;
        Ok(Loaded { config, plugins, origin, resolved, toml, files, dynamic })
    }
}

/// What serde finds wrong, where it does.
fn of_serde(error: &serde_path_to_error::Error<serde_json::Error>) -> Diagnostic {
    let path = match error.path().to_string() {
        // The whole.
        path if path == "." => String::new(),
        path => path,
    };
    Diagnostic::new(path, error.inner().to_string())
}

/// `pull:` and empty names would otherwise fail only once they are fetched or opened.
fn check_location(tree: &Node, key: &str) -> Option<Mistake> {
    let node = tree.nearest(key);
    let written = node.as_str()?;
    let name = written.strip_prefix("pull:").unwrap_or(written);
    let diagnostic =
        || Diagnostic::new(key, "this names nothing").expected("a path or `pull:NAME`");
    name.trim().is_empty().then(|| Mistake::new(node.at.clone(), diagnostic()))
}

fn resolved(config: &Config) -> serde_json::Result<Value> {
    let mut resolved = Map::from_iter([("schema".to_owned(), json!(SCHEMA))]);
    if let Value::Object(tables) = serde_json::to_value(config)? {
        resolved.extend(tables);
    }
    let mut resolved = Value::Object(resolved);
    drop_nulls(&mut resolved);
    Ok(resolved)
}

/// TOML has no null: an option that is not set is not written.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
