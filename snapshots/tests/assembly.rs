//! What `mobillm inspect` knows of the example configs, and what `--help` says.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory;
use mobillm::Environment;
use mobillm::assembly::Assembly;
use mobillm::config::Config;
use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_cli::arguments::Arguments;
use mobillm_cli::with_builtins;
use mobillm_snapshots::{NEEDS_LIBTORCH, config, configs, names};
use mobillm_weights::WeightFormat;

/// Columns of the terminal that help is written for.
const COLUMNS: usize = 100;

/// Compares `text` with the snapshot `name`.
fn check(name: &str, text: &str) {
    assert!(names().unwrap().contains(name), "`{name}` is not in mobillm_snapshots::names()");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Models with the layers and the width of the examples' own, so that bytes are those of a real run, by
/// the names under which they are pulled. What does not leave the device is small.
fn models(folder: &Path) -> BTreeMap<&'static str, Bundle> {
    let (layers, hidden, max_tokens) = (6, 384, 512);
    let encoder =
        TinyBert { layers, hidden, heads: 12, intermediate: 8, max_tokens, ..TinyBert::default() };
    let (layers, hidden, max_tokens) = (30, 576, 8192);
    let weights = WeightFormat::Int8;
    let decoder = TinyDecoder {
        layers,
        hidden,
        heads: 18,
        inner: 32,
        max_tokens,
        weights,
        ..TinyDecoder::default()
    };
    let encoder = encoder.bundle(&folder.join("encoder")).unwrap();
    let decoder = decoder.bundle(&folder.join("decoder")).unwrap();
    [("all-minilm-l6-v2", encoder), ("smollm2-135m-instruct@int8", decoder)].into()
}

/// Puts `examples` together and compares what they amount to.
fn check_assemblies(examples: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let models = Arc::new(models(folder.path()));
    let known = Arc::clone(&models);
    let pulled = move |name: &str| known.get(name).map(|bundle| bundle.path().to_owned());
    let environment =
        Environment { pulled: Box::new(pulled), ..Environment::new(with_builtins().unwrap()) };
    for name in examples {
        let loaded = Config::load(&config("", name), &[], &environment.registry);
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        let assembly = Assembly::new(&loaded, &environment).unwrap();
        let model = loaded.config.device.bundle.strip_prefix("pull:").unwrap();
        assert_eq!(assembly.info.bundle, models[model].info().bundle);
        let text = serde_json::to_string_pretty(&assembly.describe()).unwrap();
        check(&format!("assembly-{name}"), &text);
    }
}

#[test]
fn every_example_is_put_together_without_weights() {
    let mut examples = configs("").unwrap();
    examples.retain(|name| name != NEEDS_LIBTORCH);
    check_assemblies(&examples);
}

#[cfg(feature = "libtorch")]
#[test]
fn the_libtorch_example_is_put_together_without_weights() {
    check_assemblies(&[NEEDS_LIBTORCH.to_owned()]);
}

#[test]
fn the_help_of_every_command() {
    let mut command = Arguments::command().term_width(COLUMNS);
    command.build();
    let mut text = format!("$ mobillm --help\n{}", command.render_long_help());
    for subcommand in command.get_subcommands_mut().filter(|found| found.get_name() != "help") {
        let call = format!("mobillm {}", subcommand.get_name());
        text += &format!("\n$ {call} --help\n{}", subcommand.render_long_help());
    }
    let wide = text.lines().find(|line| line.chars().count() > COLUMNS);
    assert_eq!(wide, None, "a line that does not fit a terminal");
    check("help", &text);
}
