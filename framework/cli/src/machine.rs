//! What is on this machine: the user's cache, native libraries, bundles made of pulled models.

use std::path::PathBuf;

use mobillm::Environment;
use mobillm_core::backbone::NativeLibraries;
use mobillm_pull::{Cache, Item, Kind, catalogue, locate};
use mobillm_weights::{UnknownFormat, WeightFormat};

use crate::{CommandError, with_builtins};

/// A model of the catalogue, of which configs mean the bundle: `NAME`, or `NAME@FORMAT`.
pub(crate) struct PulledModel<'a> {
    /// Its name in the catalogue.
    pub(crate) item: &'a str,
    /// How its matrices are kept, if not as they come.
    pub(crate) weights: Option<WeightFormat>,
}

impl<'a> PulledModel<'a> {
    /// The model that `name` names; `None` if it is no model's name.
    ///
    /// # Errors
    /// If what follows the model's name is no format.
    pub(crate) fn named(name: &'a str) -> Result<Option<Self>, UnknownFormat> {
        let (item, format) = match name.split_once('@') {
            Some((item, format)) => (item, Some(format)),
            None => (name, None),
        };
        let is_model = |known: &Item| known.name == item && known.kind == Kind::Model;
        if !catalogue().iter().any(is_model) {
            return Ok(None);
        }
        Ok(Some(Self { item, weights: format.map(str::parse).transpose()? }))
    }

    /// Where its bundle is kept.
    pub(crate) fn bundle(&self, cache: &Cache) -> PathBuf {
        let name = match self.weights {
            Some(format) => format!("{}@{format}", self.item),
            None => self.item.to_owned(),
        };
        cache.path().join("bundles").join(name)
    }
}

/// The environment of this program on this machine.
pub(crate) fn environment() -> Result<Environment, CommandError> {
    let cache = Cache::user()?;
    let library = |name: &str| locate(&cache, name).map(|path| (name.to_owned(), path));
    let libraries = NativeLibraries(library("onnxruntime").into_iter().collect());
    let pulled = move |name: &str| {
        match PulledModel::named(name) {
            Ok(None) => {}
            Ok(Some(model)) => return Some(model.bundle(&cache)).filter(|bundle| bundle.exists()),
            // It was not pulled, and `mobillm pull` says what is wrong with it.
            Err(_) => return None,
        }
        locate(&cache, name)
    };
    Ok(Environment { registry: with_builtins()?, libraries, pulled: Box::new(pulled) })
}
