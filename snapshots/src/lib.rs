//! Snapshots of everything that users read.
//!
//! The tests of this crate write down what the program says about `examples/configs`: each config
//! with its defaults filled in, what it amounts to for a model, how each variant differs from its
//! base, every message about the configs in `bad`, and the help. A change of any of them is seen in
//! review. What the program writes for `docs` is held to stand there, and by the test `architecture`
//! which crate may depend on which.
//!
//! `INSTA_UPDATE=always cargo test -p mobillm-snapshots` accepts changes; `INSTA_UPDATE=no`, as in CI,
//! writes nothing. `cargo xtask test` refuses snapshots, here and in other crates, that no test was compared with.
//!
//! # Example
//!
//! ```
//! use serde_json::json;
//!
//! let base = json!({ "quantizer": { "type": "nf4", "block": 64 } });
//! let variant = json!({ "quantizer": { "type": "none" } });
//! assert_eq!(
//!     mobillm_snapshots::difference(&base, &variant),
//!     "- quantizer.block = 64\n~ quantizer.type: \"nf4\" -> \"none\"\n"
//! );
//! ```
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;

/// The programs of the guides: doc-tests of this crate.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guides/embed.md")]
    mod embed {}
    #[doc = include_str!("../../docs/guides/transport.md")]
    mod transport {}
}

/// `examples/configs`, seen from this crate, where its tests run.
pub const CONFIGS: &str = "../examples/configs";

/// `docs`, seen from there.
pub const DOCS: &str = "../docs";

/// The config that a binary without libtorch refuses.
pub const NEEDS_LIBTORCH: &str = "mobillm-libtorch";

/// The file `name` in the folder `folder` of the examples.
pub fn config(folder: &str, name: &str) -> PathBuf {
    Path::new(CONFIGS).join(folder).join(format!("{name}.toml"))
}

/// The names of the configs in `folder` of the examples, sorted.
///
/// # Errors
/// If it cannot be read.
pub fn configs(folder: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(CONFIGS).join(folder))? {
        let path = entry?.path();
        if let (Some(stem), true) =
            (path.file_stem(), path.extension().is_some_and(|extension| extension == "toml"))
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The name of the config that the example `name` extends, or `None` if it stands alone.
///
/// # Errors
/// If it cannot be read or is no TOML.
pub fn base(name: &str) -> io::Result<Option<String>> {
    let text = fs::read_to_string(config("", name))?;
    let table: toml::Table = toml::from_str(&text).map_err(io::Error::other)?;
    let extends = table.get("extends").and_then(toml::Value::as_str);
    Ok(extends.map(|file| file.trim_end_matches(".toml").to_owned()))
}

/// What `variant` has that `base` has not (`+`), the other way round (`-`), and what changed (`~`).
pub fn difference(base: &Value, variant: &Value) -> String {
    let (base, variant) = (leaves(base), leaves(variant));
    let keys: BTreeSet<&String> = base.keys().chain(variant.keys()).collect();
    let line = |key| match (base.get(key), variant.get(key)) {
        (Some(old), None) => format!("- {key} = {old}\n"),
        (None, Some(new)) => format!("+ {key} = {new}\n"),
        (Some(old), Some(new)) if old != new => format!("~ {key}: {old} -> {new}\n"),
        _ => String::new(),
    };
    keys.into_iter().map(line).collect()
}

/// Every value that is no table, by key path.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let Value::Object(members) = value else {
        return BTreeMap::from([(String::new(), value.clone())]);
    };
    let below = members.iter().flat_map(|(key, member)| {
        leaves(member).into_iter().map(move |(path, leaf)| match path.is_empty() {
            true => (key.clone(), leaf),
            false => (format!("{key}.{path}"), leaf),
        })
    });
    below.collect()
}
