//! What the program says about the example configs.
use std::path::Path;

use mobillm::config::{Config, Loaded};
use mobillm_cli::with_builtins;
use mobillm_snapshots::{NEEDS_LIBTORCH, base, config, configs, difference};

use crate::{check, load};

/// The examples that every binary can load.
fn examples() -> impl Iterator<Item = String> {
    configs("").unwrap().into_iter().filter(|name| name != NEEDS_LIBTORCH)
}

fn example(name: &str) -> Loaded {
    load(&config("", name)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn resolves(name: &str) {
    check(&format!("resolved-{name}"), example(name).to_toml());
}

fn resolves_to_itself(name: &str) {
    let loaded = example(name);
    let text = loaded.to_toml();
    let again = Config::from_toml(text, Path::new(""), &[], &with_builtins().unwrap());
    assert_eq!(again.unwrap().to_toml(), text, "{name}");
}

fn differs_from_its_base_as_it_says(name: &str) {
    if let Some(base) = base(name).unwrap() {
        let mut difference = difference(example(&base).resolved(), example(name).resolved());
        if difference.is_empty() {
            difference = "none: what it says are the defaults\n".to_owned();
        }
        check(&format!("difference-{name}"), &difference);
    }
}

#[test]
fn every_example_resolves() {
    examples().for_each(|name| resolves(&name));
}

#[test]
fn a_resolved_example_resolves_to_itself() {
    examples().for_each(|name| resolves_to_itself(&name));
}

#[test]
fn every_variant_differs_from_its_base_as_it_says() {
    examples().for_each(|name| differs_from_its_base_as_it_says(&name));
}

#[cfg(feature = "libtorch")]
#[test]
fn the_libtorch_example_resolves_and_differs_from_its_base() {
    resolves(NEEDS_LIBTORCH);
    resolves_to_itself(NEEDS_LIBTORCH);
    differs_from_its_base_as_it_says(NEEDS_LIBTORCH);
}

#[cfg(not(feature = "libtorch"))]
#[test]
fn a_binary_without_libtorch_says_so() {
    let errors = load(&config("", NEEDS_LIBTORCH)).unwrap_err();
    check("without-libtorch", &errors.to_string());
}
