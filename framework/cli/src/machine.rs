//! What is on this machine: the user's cache, native libraries, bundles made of pulled models.

use std::path::PathBuf;

use mobillm::Environment;
use mobillm_core::backbone::NativeLibraries;
use mobillm_pull::{Cache, Item, Kind, catalogue, locate};
use mobillm_weights::WeightFormat;

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
    pub(crate) fn named(name: &'a str) -> Option<Self> {
        let (item, weights) = match name.split_once('@') {
            Some((item, format)) => (item, Some(format.parse().ok()?)),
            None => (name, None),
        };
        let is_model = |known: &Item| known.name == item && known.kind == Kind::Model;
        catalogue().iter().any(is_model).then_some(Self { item, weights })
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
        if let Some(model) = PulledModel::named(name) {
            return Some(model.bundle(&cache)).filter(|bundle| bundle.exists());
        }
        locate(&cache, name)
    };
    Ok(Environment { registry: with_builtins()?, libraries, pulled: Box::new(pulled) })
}
