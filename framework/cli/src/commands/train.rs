//! `run`, `server`, `device`.

use std::path::{Path, PathBuf};

use mobillm::check;
use mobillm::config::{Draft, Loaded};
use mobillm::pipeline::{self, RunOptions};
use mobillm::progress::Watch;
use mobillm::run::summary::Summary;
use mobillm::{Environment, RunError};
use mobillm_report::{Comparison, Machine, Outcome as OfRun, SeedRun, Target, Variant};

use super::{Outcome, print};
use crate::arguments::{
    Arguments, ConfigArguments, DeviceArguments, RunArguments, ServerArguments,
};
use crate::machine::environment;
use crate::watcher::Watcher;
use crate::{display, hang};

pub(super) fn run(arguments: &Arguments, run: &RunArguments) -> Outcome {
    train(arguments, run, false, |loaded, environment, options, watch| {
        pipeline::run(loaded, environment, options, watch).map(Some)
    })
}

pub(super) fn device(arguments: &Arguments, device: &DeviceArguments) -> Outcome {
    train(arguments, &device.run, device.leave, pipeline::device)
}

fn train(
    arguments: &Arguments,
    run: &RunArguments,
    leave: bool,
    how: impl FnOnce(
        &Loaded,
        &Environment,
        &RunOptions,
        &Watch<'_>,
    ) -> Result<Option<Summary>, RunError>,
) -> Outcome {
    let environment = environment()?;
    let draft = draft(&run.config, &environment)?;
    let watcher = Watcher::of_run(arguments.quiet)?;
    hang::mind(&draft.plugins, draft.patience_seconds(), &watcher.watch().stop)?;
    let loaded = check::sound(draft, &environment)?;
    let variant = config_name(&run.config.config);
    let out = run.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&variant));
    let options = RunOptions { out, variant, fresh: run.fresh, leave };
    let summary = how(&loaded, &environment, &options, &watcher.watch())
        .inspect_err(|error| note_stop(error, &watcher))?;
    let comparison = summary.as_ref().map(|summary| of_one(&loaded, &options, summary));
    let printed = print(arguments.json, &summary, || match &comparison {
        Some(comparison) => {
            format!("{}\n{}", comparison.table(), display::next_command(&options.out))
        }
        None => {
            "the server has every sample and trains on; the same command comes back for the result"
                .to_owned()
        }
    });
    // Neither keeps the other from being there: a reader that has gone, a disk that is full.
    if let Some(comparison) = &comparison {
        comparison.write(&options.out)?;
    }
    printed
}

/// The comparison of one run with none.
fn of_one(loaded: &Loaded, options: &RunOptions, summary: &Summary) -> Comparison {
    let outcome = OfRun::Finished(Box::new(summary.clone()));
    let variant = Variant {
        name: options.variant.clone(),
        config: loaded.resolved().clone(),
        runs: vec![SeedRun { seed: loaded.config.training.seed, outcome }],
    };
    Comparison::new(vec![variant], Target::default(), Machine::here())
}

pub(super) fn server(arguments: &Arguments, server: &ServerArguments) -> Outcome {
    let environment = environment()?;
    let draft = draft(&server.config, &environment)?;
    let watcher = Watcher::of_run(arguments.quiet)?;
    hang::mind(&draft.plugins, draft.patience_seconds(), &watcher.watch().stop)?;
    // The model and the data need not be here.
    let loaded = draft.finish().map_err(RunError::from)?;
    let name = format!("{}-server", config_name(&server.config.config));
    let out = server.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
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

pub(super) fn draft(
    arguments: &ConfigArguments,
    environment: &Environment,
) -> Result<Draft, RunError> {
    Ok(Draft::read(&arguments.config, &arguments.sets, &environment.registry)?)
}

/// A config is called as its file is.
pub(crate) fn config_name(config: &Path) -> String {
    config.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
