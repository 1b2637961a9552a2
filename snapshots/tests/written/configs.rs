//! What the program says about the example configs.
use std::path::Path;

use mobillm::config::{Config, Loaded};
use mobillm_cli::with_builtins;
use mobillm_snapshots::{MISFIT, NEEDS_LIBTORCH, base, config, configs, difference, names, stems};

use crate::{check, load};

/// Runs on both kinds of binary; what needs libtorch is told apart by this.
const LIBTORCH: bool = cfg!(feature = "libtorch");

/// The examples that this binary can load.
fn examples() -> impl Iterator<Item = (String, Loaded)> {
    let names = configs("").unwrap().into_iter().filter(|name| LIBTORCH || name != NEEDS_LIBTORCH);
    names.map(|name| {
        let loaded = load(&config("", &name)).unwrap_or_else(|errors| panic!("{errors}"));
        (name, loaded)
    })
}

#[test]
fn every_example_resolves() {
    for (name, loaded) in examples() {
        check(&format!("resolved-{name}"), loaded.to_toml());
    }
}

#[test]
fn a_resolved_example_resolves_to_itself() {
    for (name, loaded) in examples() {
        let text = loaded.to_toml();
        let again = Config::from_toml(text, Path::new(""), &[], &with_builtins().unwrap());
        assert_eq!(again.unwrap().to_toml(), text, "{name}");
    }
}

#[test]
fn every_variant_differs_from_its_base_as_it_says() {
    for (name, loaded) in examples() {
        if let Some(base) = base(&name).unwrap() {
            let base = load(&config("", &base)).unwrap();
            let mut difference = difference(base.resolved(), loaded.resolved());
            if difference.is_empty() {
                difference = "none: what it says are the defaults\n".to_owned();
            }
            check(&format!("difference-{name}"), &difference);
        }
    }
}

#[test]
fn every_bad_config_is_explained() {
    let loadable = |name: &String| name.starts_with(MISFIT);
    for name in configs("bad").unwrap().into_iter().filter(|name| !loadable(name)) {
        let errors = load(&config("bad", &name)).expect_err(&name);
        check(&format!("diagnostics-{name}"), &errors.to_string());
    }
}

#[cfg(not(feature = "libtorch"))]
#[test]
fn a_binary_without_libtorch_says_so() {
    let errors = load(&config("", NEEDS_LIBTORCH)).unwrap_err();
    check("without-libtorch", &errors.to_string());
}

#[test]
fn no_snapshot_is_left_behind() {
    let folder = Path::new("tests/snapshots");
    let found: Vec<String> = stems(folder, "snap").unwrap();
    let names = names().unwrap();
    let unreferenced: Vec<_> = found.iter().filter(|name| !names.contains(*name)).collect();
    assert!(unreferenced.is_empty(), "delete these snapshots: {unreferenced:?}");
    assert_eq!(stems(folder, "new").unwrap(), Vec::<String>::new(), "accept or delete these");
}
