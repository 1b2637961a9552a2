//! What stands in `docs` is what the program prints with this library loaded.

use std::fs;
use std::path::Path;

use mobillm::config::{reference, schema};
use mobillm_core::registry::Registry;

use super::library;

fn registry() -> Registry {
    let mut registry = mobillm_cli::with_builtins().unwrap();
    library().register(&mut registry).unwrap();
    registry
}

#[track_caller]
fn is_up_to_date(name: &str, printed: &str) {
    let path = Path::new("../../docs").join(name);
    let found = fs::read_to_string(&path).unwrap_or_default();
    let line = found.lines().zip(printed.lines()).position(|(found, printed)| found != printed);
    let line = line.unwrap_or_else(|| found.lines().count().min(printed.lines().count())) + 1;
    assert!(
        found == printed,
        "docs/{name}:{line} is not what the program prints; `cargo xtask docs` writes it"
    );
}

#[test]
fn the_schema_is_up_to_date() {
    let printed = serde_json::to_string_pretty(&schema(&registry())).unwrap() + "\n";
    is_up_to_date("mobillm.schema.json", &printed);
}

#[test]
fn the_option_reference_is_up_to_date() {
    is_up_to_date("options.md", &reference::markdown(&registry()));
}
