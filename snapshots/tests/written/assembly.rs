//! What `mobillm inspect` knows of the example configs, and what `--help` says.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory;
use mobillm::Environment;
use mobillm::assembly::Assembly;
use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_cli::arguments::Arguments;
use mobillm_cli::with_builtins;
use mobillm_snapshots::{MISFIT, NEEDS_LIBTORCH, config, configs};
use mobillm_weights::WeightFormat;

use crate::{check, load};

/// Columns of the terminal that help is written for.
const COLUMNS: usize = 100;

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

/// An environment of those models, by name, and the models.
fn environment(folder: &Path) -> (Environment, Arc<BTreeMap<&'static str, Bundle>>) {
    let models = Arc::new(models(folder));
    let known = Arc::clone(&models);
    let pulled = move |name: &str| known.get(name).map(|bundle| bundle.path().to_owned());
    let environment = Environment::new(with_builtins().unwrap());
    (Environment { pulled: Box::new(pulled), ..environment }, models)
}

/// Puts `examples` together and compares what they amount to.
fn check_assemblies(examples: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let (environment, models) = environment(folder.path());
    for name in examples {
        let loaded = load(&config("", name)).unwrap_or_else(|errors| panic!("{errors}"));
        let assembly = Assembly::new(&loaded, &environment).unwrap();
        let model = loaded.config.device.bundle.strip_prefix("pull:").unwrap();
        assert_eq!(assembly.info.bundle, models[model].info().bundle);
        let text = serde_json::to_string_pretty(&assembly.describe()).unwrap();
        check(&format!("assembly-{name}"), &text);
    }
}

#[test]
fn every_config_that_does_not_fit_its_model_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (environment, _) = environment(folder.path());
    let names = configs("bad").unwrap().into_iter().filter(|name| name.starts_with(MISFIT));
    for name in names {
        let loaded = load(&config("bad", &name)).unwrap_or_else(|errors| panic!("{errors}"));
        match Assembly::new(&loaded, &environment) {
            Ok(_) => panic!("{name} fits"),
            Err(error) => check(&format!("diagnostics-{name}"), &error.to_string()),
        }
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

/// The help of `command`, which is called by `call`, and of all below it.
fn help(command: &mut clap::Command, call: &str) -> String {
    let mut text = format!("$ {call} --help\n{}", command.render_long_help());
    let seen = |found: &clap::Command| found.get_name() != "help" && !found.is_hide_set();
    for subcommand in command.get_subcommands_mut().filter(|found| seen(found)) {
        let call = format!("{call} {}", subcommand.get_name());
        text += &format!("\n{}", help(subcommand, &call));
    }
    text
}

#[test]
fn the_help_of_every_command() {
    let mut command = Arguments::command().term_width(COLUMNS);
    command.build();
    let text = help(&mut command, "mobillm");
    let wide = text.lines().find(|line| line.chars().count() > COLUMNS);
    assert_eq!(wide, None, "a line that does not fit a terminal");
    check("help", &text);
}
