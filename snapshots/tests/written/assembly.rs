//! What `mobillm inspect` knows of the example configs, and what `--help` says.
use std::collections::BTreeMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory;
use mobillm::assembly::Assembly;
use mobillm::check::sound;
use mobillm::config::{Config, Draft};
use mobillm::pipeline::prepare;
use mobillm::progress::{Unobserved, Watch};
use mobillm::{Environment, RunError, Stop};
use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_cli::arguments::Arguments;
use mobillm_cli::with_builtins;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_snapshots::{NEEDS_LIBTORCH, config, configs};
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

/// An environment of those models and of the examples' data, by name, and the models.
fn environment(folder: &Path) -> (Environment, Arc<BTreeMap<&'static str, Bundle>>) {
    let models = Arc::new(models(folder));
    let known = Arc::clone(&models);
    let data = folder.join("sms-spam.tsv");
    fs::write(&data, "ham\tare you in?\nspam\tyou have won\nham\tin a minute\n").unwrap();
    let pulled = move |name: &str| match name {
        "sms-spam" => Some(data.clone()),
        name => known.get(name).map(|bundle| bundle.path().to_owned()),
    };
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

/// What `mobillm check` says of the config `path`, whose model and data are in `environment`.
fn mistakes(path: &Path, environment: &Environment) -> Result<(), RunError> {
    let watch = Watch { observer: &Unobserved, stop: Stop::default() };
    let loaded = sound(Draft::read(path, &[], &environment.registry)?, environment)?;
    prepare(&loaded, environment, &watch).map(drop)
}

#[test]
fn every_bad_config_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (environment, _) = environment(folder.path());
    for name in configs("bad").unwrap() {
        match mistakes(&config("bad", &name), &environment) {
            Ok(()) => panic!("nothing is wrong with {name}"),
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

/// By name, version and slots, and by the file itself: so a plugin that was updated or built again is told apart.
#[test]
fn an_assembly_with_loaded_components_names_their_library() {
    let folder = tempfile::tempdir().unwrap();
    let (environment, _) = environment(folder.path());
    // A dependency of these tests: cargo built it beside them.
    let library = format!("{DLL_PREFIX}acme_codes{DLL_SUFFIX}");
    let library = std::env::current_exe().unwrap().with_file_name(library);
    let sets = [
        format!("plugins.load=[{library:?}]"),
        "device.quantizer={type=\"acme.q6\"}".to_owned(),
        "device.privacy={type=\"acme.clip\", norm=8.0}".to_owned(),
    ];
    let loaded = Config::load(&config("", "mobillm"), &sets, &environment.registry);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let described = Assembly::new(&loaded, &environment).unwrap().describe();
    let described = serde_json::to_value(&described).unwrap();
    // Every compiler makes another file of it, so the snapshot has none.
    let sha256 = Fingerprint::of(&fs::read(&library).unwrap()).to_string();
    assert_eq!(described["libraries"][0]["sha256"], sha256);
    check("assembly-loaded", &serde_json::to_string_pretty(&described).unwrap());
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
