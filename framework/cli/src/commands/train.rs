//! `run`, `server`, `device`.

use std::path::{Path, PathBuf};

use mobillm::config::{Config, Loaded};
use mobillm::pipeline::{self, RunOptions};
use mobillm::progress::Watch;
use mobillm::run::summary::Summary;
use mobillm::{Environment, RunError};

use super::{Outcome, print};
use crate::arguments::{Arguments, ConfigArguments, RunArguments, ServerArguments};
use crate::display;
use crate::machine::environment;
use crate::watcher::Watcher;

type Train = fn(&Loaded, &Environment, &RunOptions, &Watch<'_>) -> Result<Summary, RunError>;

pub(super) fn run(arguments: &Arguments, run: &RunArguments) -> Outcome {
    train(arguments, run, pipeline::run)
}

pub(super) fn device(arguments: &Arguments, run: &RunArguments) -> Outcome {
    train(arguments, run, pipeline::device)
}

fn train(arguments: &Arguments, run: &RunArguments, how: Train) -> Outcome {
    let environment = environment()?;
    let loaded = load(&run.config, &environment)?;
    let variant = variant(&run.config.config);
    let out = run.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&variant));
    let options = RunOptions { out, variant, fresh: run.fresh };
    let watcher = Watcher::of_run(arguments.quiet)?;
    let summary = how(&loaded, &environment, &options, &watcher.watch())
        .inspect_err(|error| note_stop(error, &watcher))?;
    print(arguments.json, &summary, || {
        let positive = loaded.config.task.positive.as_deref();
        let table = display::summary(&summary, positive);
        format!("{table}\n{}", display::next_command(&options.out))
    })
}

pub(super) fn server(arguments: &Arguments, server: &ServerArguments) -> Outcome {
    let environment = environment()?;
    let loaded = load(&server.config, &environment)?;
    let name = format!("{}-server", variant(&server.config.config));
    let out = server.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    let watcher = Watcher::of_run(arguments.quiet)?;
    pipeline::server(&loaded, &out, &watcher.watch())
        .inspect_err(|error| note_stop(error, &watcher))?;
    watcher.line("the run is finished");
    Ok(())
}

fn note_stop(error: &RunError, watcher: &Watcher) {
    if matches!(error, RunError::Stopped) {
        watcher.line("the same command goes on from here");
    }
}

pub(super) fn load(
    arguments: &ConfigArguments,
    environment: &Environment,
) -> Result<Loaded, RunError> {
    Ok(Config::load(&arguments.config, &arguments.sets, &environment.registry)?)
}

/// A config's name is its file's.
fn variant(config: &Path) -> String {
    config.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
