//! What the program writes: about the example configs, as help, for `docs`.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod assembly;
mod configs;
mod docs;

use std::path::Path;

use mobillm::config::{Config, ConfigErrors, Loaded};
use mobillm_cli::with_builtins;
/// Compares `text` with the snapshot `name`.
fn check(name: &str, text: &str) {
    // Places as a user sees them who stands in the repository's root; no system's own words.
    let text = text.replace("../examples/", "examples/");
    insta::with_settings!({
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        filters => [
            (r": [^:]* \(os error \d+\)", ": [the system's reason]"),
            (r#""sha256": "[0-9a-f]{64}""#, r#""sha256": "[sha256]""#),
        ],
    }, {
        insta::assert_snapshot!(name, text);
    });
}

/// The config `path`, as a program with the built-in plugins loads it.
fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    Config::load(path, &[], &with_builtins().unwrap())
}
