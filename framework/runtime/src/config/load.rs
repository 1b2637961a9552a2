//! From a file's name to a checked config.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Entry, Registry, Slot};
use mobillm_plugin::{Library, Manifest};
use serde_json::{Map, Value, json};

use super::check::{self, Checked};
use super::errors::{ConfigErrors, Mistake};
use super::plugins::{self, Plugins};
use super::source::{Place, Source};
use super::tree::{Node, keys};
use super::{Config, SCHEMA, layers};

/// Keys whose value is a path relative to its file, or `pull:NAME`.
const LOCATIONS: [&str; 3] = ["task.train", "task.held_out", "device.bundle"];

impl Config {
    /// Reads the file `path`, lays it over its bases and each of `sets` (`a.b=c`) over the result.
    ///
    /// A config names code to run: the libraries of its `[plugins] load` are loaded before the rest of it is checked,
    /// and a library that is loaded has all rights of this process. Load no config that you would not run as a program.
    ///
    /// # Errors
    /// With everything that is wrong in any of them.
    pub fn load(path: &Path, sets: &[String], registry: &Registry) -> Result<Loaded, ConfigErrors> {
        assemble(&path.display().to_string(), layers::read(path), sets, registry)
    }

    /// The same from `text`, in which relative paths start from `folder`.
    ///
    /// ```
    /// # use std::path::Path;
    /// use mobillm::config::Config;
    /// use mobillm_core::registry::Registry;
    ///
    /// let text = "schema = 1\n[task]\nnam = 'x'";
    /// let errors = Config::from_toml(text, Path::new("."), &[], &Registry::new()).unwrap_err();
    /// let unknown = errors.mistakes().iter().find(|m| m.diagnostic.path == "task.nam").unwrap();
    /// assert_eq!(unknown.place.line_and_column(), Some((3, 1)));
    /// assert_eq!(unknown.diagnostic.help.as_deref(), Some("did you mean `name`?"));
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load); places are in a file that is named `config`.
    pub fn from_toml(
        text: &str,
        folder: &Path,
        sets: &[String],
        registry: &Registry,
    ) -> Result<Loaded, ConfigErrors> {
        let name = "config".to_owned();
        let source =
            Source { name, folder: folder.to_owned(), text: Some(text.to_owned()), order: 0 };
        assemble("config", layers::read_source(Arc::new(source), None), sets, registry)
    }
}

fn assemble(
    name: &str,
    tree: Result<Node, Vec<Mistake>>,
    sets: &[String],
    registry: &Registry,
) -> Result<Loaded, ConfigErrors> {
    let mut mistakes = Vec::new();
    let over = layers::sets(sets, &mut mistakes);
    let mut tree = match tree {
        Ok(tree) => tree,
        Err(in_files) => return Err(ConfigErrors::new(name, [in_files, mistakes].concat())),
    };
    if let Some(over) = over {
        tree = tree.overlaid(over);
    }
    let plugins = Plugins::of_tree(&tree, registry, &mut mistakes);
    let mut checked = check::check(&mut tree, &plugins.registry);
    mistakes.append(&mut checked.mistakes);
    mistakes.extend(LOCATIONS.iter().filter_map(|key| check_location(&tree, key)));
    if !mistakes.is_empty() {
        return Err(ConfigErrors::new(name, mistakes));
    }
    finish(name, tree, checked, plugins)
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

/// Deserializes a tree that its schemas accept. What they cannot express is found here.
fn finish(
    name: &str,
    tree: Node,
    checked: Checked,
    plugins: Plugins,
) -> Result<Loaded, ConfigErrors> {
    let Checked { files, dynamic, .. } = checked;
    let wrong = |path: &str, message: String| {
        ConfigErrors::new(name, vec![placed(&tree, Diagnostic::new(path, message))])
    };
    let mut written = tree.to_json();
    for key in &files {
        replace_path(&mut written, key, |path| Ok(tree.nearest(key).at.folder().join(path)))
            .map_err(|error| wrong(key, error.to_string()))?;
    }
    for (key, slot) in &dynamic {
        if let Some(component) = written.pointer_mut(&pointer(key)) {
            plugins::wrap(component, *slot, &plugins.registry);
        }
    }
    let config: Config = serde_path_to_error::deserialize(written)
        .map_err(|error| wrong(&error.path().to_string(), error.inner().to_string()))?;
    let in_task = config.task.check().into_iter().map(|found| found.under("task"));
    let in_task: Vec<Mistake> = in_task.map(|found| placed(&tree, found)).collect();
    if !in_task.is_empty() {
        return Err(ConfigErrors::new(name, in_task));
    }
    let unsayable = |message: String| wrong("config", message);
    let mut resolved = resolved(&config).map_err(|error| unsayable(error.to_string()))?;
    for component in dynamic.iter().map(|(key, _)| pointer(key)) {
        if let Some(component) = resolved.pointer_mut(&component) {
            plugins::unwrap(component);
        }
    }
    for key in &files {
        if let (Some(value), Some(written)) =
            (resolved.pointer_mut(&pointer(key)), tree.nearest(key).as_str())
        {
            *value = Value::from(written);
        }
    }
    let toml = toml::to_string_pretty(&resolved).map_err(|error| unsayable(error.to_string()))?;
    Ok(Loaded { config, plugins, resolved, toml, tree, files, dynamic, name: name.to_owned() })
}

/// The JSON pointer of a key path.
fn pointer(key: &str) -> String {
    keys(key).map(|key| format!("/{key}")).collect()
}

/// Puts what `change` makes of the path at `key` in its place.
fn replace_path(
    values: &mut Value,
    key: &str,
    change: impl FnOnce(&str) -> io::Result<PathBuf>,
) -> io::Result<()> {
    if let Some(value) = values.pointer_mut(&pointer(key))
        && let Some(written) = value.as_str()
    {
        let path = change(written)?.into_os_string().into_string().map_err(|path| {
            let problem = format!("{} is not UTF-8, and a config is", path.display());
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        })?;
        *value = Value::from(path);
    }
    Ok(())
}

/// `diagnostic` where its key path leads in `tree`.
fn placed(tree: &Node, diagnostic: Diagnostic) -> Mistake {
    Mistake::new(tree.nearest(&diagnostic.path).at.clone(), diagnostic)
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

/// Where data or a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Fetched by this name.
    Pull(String),
    /// A file or folder, relative to the current one.
    Path(PathBuf),
}

/// A config and where each part of it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// The plugins that it may name, those that it has loaded among them.
    pub plugins: Plugins,
    name: String,
    resolved: Value,
    toml: String,
    tree: Node,
    files: Vec<String>,
    /// Key paths and slots of the components that come from a dynamic library.
    dynamic: Vec<(String, Slot)>,
}

impl Loaded {
    /// The plugin that fills `slot` at `key` (`device.quantizer`).
    pub fn component(&self, key: &str, slot: Slot) -> Option<&Entry> {
        let tag = self.resolved.pointer(&format!("{}/type", pointer(key)))?.as_str()?;
        self.plugins.registry.entry(slot, tag)
    }

    /// What the dynamic libraries are that components of this config come from, by name.
    pub fn libraries(&self) -> Vec<Manifest> {
        let library = |(key, slot): &(String, Slot)| {
            Library::having(*slot, self.component(key, *slot)?.tag).map(|found| &found.manifest)
        };
        let mut manifests: Vec<Manifest> =
            self.dynamic.iter().filter_map(library).cloned().collect();
        manifests.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        manifests.dedup();
        manifests
    }

    /// The config with all defaults filled in, `schema` first, tables in a fixed order.
    pub fn resolved(&self) -> &Value {
        &self.resolved
    }

    /// The same as TOML, paths as they were written.
    pub fn to_toml(&self) -> &str {
        &self.toml
    }

    /// The same with absolute paths, so that it means the same wherever it is put.
    ///
    /// # Errors
    /// If the current folder is not known, or a path is not UTF-8.
    pub fn to_absolute_toml(&self) -> io::Result<String> {
        let mut resolved = self.resolved.clone();
        for key in LOCATIONS.into_iter().chain(self.files.iter().map(String::as_str)) {
            if let Some(Location::Path(path)) = self.location(key) {
                replace_path(&mut resolved, key, |_| std::path::absolute(path))?;
            }
        }
        toml::to_string_pretty(&resolved).map_err(io::Error::other)
    }

    /// Where `key` (`device.quantizer.type`) stands; for a default, the table that it would be in.
    /// `None` if nothing of it was written.
    pub fn locate(&self, key: &str) -> Option<Place> {
        let place = &self.tree.nearest(key).at;
        (place.span.is_some() || place.is_set()).then(|| place.clone())
    }

    /// What the path-valued `key` (`task.train`, `task.held_out`, `device.bundle`) names, relative paths
    /// resolved against the file in which they stand. `None` if it is not set.
    pub fn location(&self, key: &str) -> Option<Location> {
        let node = self.tree.nearest(key);
        let written = node.as_str()?;
        Some(match written.strip_prefix("pull:") {
            Some(name) => Location::Pull(name.to_owned()),
            None => Location::Path(node.at.folder().join(written)),
        })
    }

    /// Later findings about this config (their paths are whole key paths), told like its mistakes.
    pub fn errors(&self, diagnostics: impl IntoIterator<Item = Diagnostic>) -> ConfigErrors {
        let mistakes = diagnostics.into_iter().map(|diagnostic| placed(&self.tree, diagnostic));
        ConfigErrors::new(&self.name, mistakes.collect())
    }
}
