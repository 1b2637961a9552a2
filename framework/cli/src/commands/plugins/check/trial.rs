//! `plugins trial`: one task of `plugins check`, in a process that may not survive it.

use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::time::Duration;

use mobillm_core::backbone::BackboneContext;
use mobillm_core::registry::Slot;
use mobillm_plugin::{Component, Library, Manifest, watch};
use mobillm_testkit::law::{Law, Verdict as Tried};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::super::Outcome;
use super::{Verdict, suite};
use crate::CommandError;
use crate::arguments::plugins::TrialArguments;
use crate::watcher::say;

/// What is to be done with the library.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Say what it has.
    Look,
    /// Try a law of a component, or list its laws.
    Try {
        slot: Slot,
        tag: String,
        options: Map<String, Value>,
        /// What a backbone is built from.
        backbone: Option<Box<BackboneContext>>,
        law: Option<String>,
    },
}

/// What a library says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// What its manifest should be.
    pub(crate) manifest: Manifest,
    /// Whether that lies beside it.
    pub(crate) sealed: bool,
    /// The compiler that built it.
    pub(crate) built_by: String,
    /// What it has.
    pub(crate) components: Vec<Component>,
}

pub(in super::super) fn trial(trial: &TrialArguments) -> Outcome {
    // What the library prints must not stand in the result.
    let mut result = File::from(rustix::io::dup(stdout()).map_err(std::io::Error::from)?);
    rustix::stdio::dup2_stdout(stderr()).map_err(std::io::Error::from)?;
    // Crashes are to be expected: there is no need to keep them.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(std::io::Error::from)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(std::io::Error::from)?;
    let patience = Duration::from_secs(trial.patience);
    watch(patience / 2, |hang| say(&hang.to_string()))?;
    serde_json::to_writer(&mut result, &found(&trial.file, &serde_json::from_str(&trial.task)?)?)?;
    Ok(result.flush()?)
}

fn found(file: &Path, task: &Task) -> Result<Value, CommandError> {
    let library = Library::named_by_user(file)?;
    Ok(match task {
        Task::Look => serde_json::to_value(Seen {
            manifest: library.manifest.clone(),
            sealed: Manifest::path(&library.path).exists(),
            built_by: library.built_by.clone(),
            components: library.components.clone(),
        })?,
        Task::Try { slot, tag, options, backbone, law } => {
            let is_it = |component: &&Component| component.slot == *slot && component.tag == *tag;
            let component = library.components.iter().find(is_it);
            let component = component.ok_or_else(|| CommandError::NoPlugin { tag: tag.clone() })?;
            let backbone = backbone.as_deref().cloned();
            suite::of(component, options.clone(), backbone, |laws| match law {
                Some(law) => serde_json::to_value(tried(laws, law)),
                None => serde_json::to_value(laws.iter().map(Law::to_string).collect::<Vec<_>>()),
            })??
        }
    })
}

fn tried(laws: &[Law<'_>], name: &str) -> Verdict {
    match laws.iter().find(|law| law.to_string() == name).map(Law::run) {
        Some(Tried::Kept) => Verdict::Passed,
        Some(Tried::Broken(reason)) => Verdict::Failed(reason),
        Some(Tried::Exempt(why)) => Verdict::Skipped(why),
        None => Verdict::Failed("the next time it was looked at, there was no such law".to_owned()),
    }
}
