//! From a file's name to a checked config.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Entry, Registry, Slot};
use mobillm_plugin::{Library, Manifest};
use serde_json::Value;

use super::draft::{Draft, Origin};
use super::errors::ConfigErrors;
use super::plugins::Plugins;
use super::source::{Place, Source};
use super::tree::keys;
use super::{Config, layers};

/// Keys whose value is a path relative to its file, or `pull:NAME`.
pub(super) const LOCATIONS: [&str; 3] = ["task.train", "task.held_out", "device.bundle"];

impl Config {
    /// Reads the file `path`, lays it over its bases and each of `sets` (`a.b=c`) over the result.
    ///
    /// A config names code to run: the libraries of its `[plugins] load` are loaded before the rest of it is checked,
    /// and a library that is loaded has all rights of this process. Load no config that you would not run as a program.
    ///
    /// # Errors
    /// With everything that is wrong in any of them.
    pub fn load(path: &Path, sets: &[String], registry: &Registry) -> Result<Loaded, ConfigErrors> {
        Draft::read(path, sets, registry)?.finish()
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
        let read = |mistakes: &mut _| layers::read_source(Arc::new(source), None, mistakes);
        Draft::new("config".to_owned(), read, sets, registry)?.finish()
    }
}

/// The JSON pointer of a key path.
pub(super) fn pointer(key: &str) -> String {
    keys(key).map(|key| format!("/{key}")).collect()
}

/// Puts what `change` makes of the path at `key` in its place.
pub(super) fn replace_path(
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
    pub(crate) origin: Origin,
    pub(super) resolved: Value,
    pub(super) toml: String,
    pub(super) files: Vec<String>,
    /// Key paths and slots of the components that come from a dynamic library.
    pub(super) dynamic: Vec<(String, Slot)>,
}

impl Loaded {
    /// The plugin that fills `slot` at `key` (`device.quantizer`).
    pub fn component(&self, key: &str, slot: Slot) -> Option<&Entry> {
        let tag = self.resolved.pointer(&format!("{}/type", pointer(key)))?.as_str()?;
        self.plugins.registry.entry(slot, tag)
    }

    /// What the dynamic libraries are that components of this config come from, by name.
    pub fn libraries(&self) -> Vec<Manifest> {
        self.libraries_of(&["device", "link", "server"])
    }

    /// The same of the components at `keys` (`device.quantizer`) and within them.
    pub fn libraries_of(&self, keys: &[&str]) -> Vec<Manifest> {
        let is_within = |path: &str| {
            let rests = keys.iter().filter_map(|key| path.strip_prefix(key));
            rests.map(|rest| rest.chars().next()).any(|next| matches!(next, None | Some('.' | '[')))
        };
        let library = |(key, slot): &(String, Slot)| {
            Library::having(*slot, self.component(key, *slot)?.tag).map(|found| &found.manifest)
        };
        let chosen = self.dynamic.iter().filter(|(key, _)| is_within(key));
        let mut manifests: Vec<Manifest> = chosen.filter_map(library).cloned().collect();
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
        let place = &self.origin.nearest(key).at;
        (place.span.is_some() || place.is_set()).then(|| place.clone())
    }

    /// What the path-valued `key` (`task.train`, `task.held_out`, `device.bundle`) names, relative paths
    /// resolved against the file in which they stand. `None` if it is not set.
    pub fn location(&self, key: &str) -> Option<Location> {
        self.origin.location(key)
    }

    /// Later findings about this config (their paths are whole key paths), told like its mistakes.
    pub fn errors(&self, diagnostics: impl IntoIterator<Item = Diagnostic>) -> ConfigErrors {
        self.origin.errors(diagnostics)
    }
}
