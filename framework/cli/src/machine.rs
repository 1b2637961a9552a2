//! What is on this machine: the user's cache, native libraries, bundles made of pulled models.

use std::path::PathBuf;

use mobillm::Environment;
use mobillm_core::backbone::NativeLibraries;
use mobillm_pull::{Cache, Kind, catalogue, locate};

use crate::{CommandError, with_builtins};

/// Where the bundle of the pulled model `name` is kept.
pub(crate) fn bundle_path(cache: &Cache, name: &str) -> PathBuf {
    cache.path().join("bundles").join(name)
}

/// Whether `name` is a model, of which configs mean the bundle.
pub(crate) fn is_model(name: &str) -> bool {
    catalogue().iter().any(|item| item.name == name && item.kind == Kind::Model)
}

/// The environment of this program on this machine.
pub(crate) fn environment() -> Result<Environment, CommandError> {
    let cache = Cache::user()?;
    let library = |name: &str| locate(&cache, name).map(|path| (name.to_owned(), path));
    let libraries = NativeLibraries(library("onnxruntime").into_iter().collect());
    let pulled = move |name: &str| {
        if is_model(name) {
            let bundle = bundle_path(&cache, name);
            return bundle.exists().then_some(bundle);
        }
        locate(&cache, name)
    };
    Ok(Environment { registry: with_builtins()?, libraries, pulled: Box::new(pulled) })
}
