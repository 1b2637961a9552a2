//! The mobillm command: the one place that names concrete plugins.
//!
//! * [`with_builtins`]: the plugins that this program is linked with. Programs that embed mobillm and
//!   want the same set call it too.
//! * [`arguments`]: what may be written after `mobillm`.
//! * `commands`: the subcommands; each prints its result to stdout (`--json` for machines).
//!   Progress, notes and errors go to stderr.
//! * `compare`: runs of several variants, each as two child processes.
//!
//! Exit codes: 0 done, 1 failed, 2 the command line or the config is wrong, 130 stopped by Ctrl-C; a
//! run that was stopped goes on with the same command.
//!
//! # Example
//!
//! ```
//! use mobillm_core::registry::Slot;
//!
//! let registry = mobillm_cli::with_builtins()?;
//! assert!(registry.entry(Slot::Quantizer, "nf4").is_some());
//! # Ok::<(), mobillm_core::registry::DuplicateTag>(())
//! ```
#![forbid(unsafe_code)]

pub mod arguments;
mod commands;
mod compare;
mod display;
mod hang;
mod machine;
mod watcher;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mobillm::RunError;
use mobillm_bundle::ImportError;
use mobillm_core::registry::{DuplicateTag, Registry};
use mobillm_plugin::LibraryError;
use mobillm_pull::PullError;
use mobillm_report::ReportError;
use mobillm_weights::UnknownFormat;
use thiserror::Error;

use crate::arguments::Arguments;
use crate::commands::NewError;
use crate::watcher::say;

/// The registry of every plugin that is linked into this program.
///
/// # Errors
/// If two of them claim one tag.
pub fn with_builtins() -> Result<Registry, DuplicateTag> {
    let mut registry = Registry::new();
    mobillm_backbone_onnxruntime::register(&mut registry)?;
    mobillm_backbone_candle::register(&mut registry)?;
    mobillm_selectors::register(&mut registry)?;
    mobillm_privacy::register(&mut registry)?;
    mobillm_quantizers::register(&mut registry)?;
    mobillm_transport_in_memory::register(&mut registry)?;
    mobillm_transport_tcp::register(&mut registry)?;
    mobillm_link_emulator::register(&mut registry)?;
    mobillm_adapter_candle::register(&mut registry)?;
    #[cfg(feature = "libtorch")]
    mobillm_adapter_libtorch::register(&mut registry)?;
    #[cfg(not(feature = "libtorch"))]
    registry.absent(
        mobillm_core::registry::Slot::SideNetwork,
        "libtorch",
        "`cargo xtask libtorch`, in the sources of mobillm, builds it as a plugin and prints what a config says \
         to load it",
    );
    Ok(registry)
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// A run, or something of it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An import.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A download.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// A model's name with a format that there is not.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// A report that cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Configs that cannot be compared: everything that is wrong with any of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Configs(Vec<RunError>),
    /// Two variants of one name.
    #[error(
        "{} and {} would both be called `{name}`, for a variant is called as its file is; rename one of \
         them", first.display(), second.display()
    )]
    SameName {
        /// The name.
        name: String,
        /// A config.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
    /// Some runs of a comparison.
    #[error(
        "{failed} of {runs} runs failed; the same command tries them again and keeps the others"
    )]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        runs: usize,
    },
    /// Two plugins with one tag.
    #[error(transparent)]
    Registry(#[from] DuplicateTag),
    /// A library that cannot be loaded.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A tag that no plugin has.
    #[error(
        "there is no plugin `{tag}`; `mobillm plugins list` shows which there are, and --load PATH or a config \
         with `[plugins] load` adds those of a library"
    )]
    NoPlugin {
        /// The tag.
        tag: String,
    },
    /// A plugin that cannot be begun.
    #[error(transparent)]
    New(#[from] NewError),
    /// A library that breaks laws.
    #[error("{}: {failed} of {laws} laws are broken", file.display())]
    Laws {
        /// The library.
        file: PathBuf,
        /// How many it breaks.
        failed: usize,
        /// Of how many.
        laws: usize,
    },
    /// A manifest that could not be written.
    #[error("{}: it has passed, but its manifest was not written: {reason}", file.display())]
    Seal {
        /// The library.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A line of stdin that is no text.
    #[error("stdin:{number}: {source}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// Writing stdout, or minding signals.
    #[error("{0}")]
    Terminal(#[from] std::io::Error),
    /// A result that is no JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// The exit code of what was stopped and can be gone on with.
pub(crate) const STOPPED: u8 = 130;

impl CommandError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Run(RunError::Stopped) => STOPPED,
            Self::Run(RunError::Config(_)) | Self::SameName { .. } | Self::NoPlugin { .. } => 2,
            Self::New(error) if error.is_usage() => 2,
            Self::Configs(wrong) if wrong.iter().any(|e| matches!(e, RunError::Config(_))) => 2,
            _ => 1,
        }
    }

    /// Whether whoever reads our output has enough of it: `mobillm inspect ... | head`.
    fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Terminal(error) => error.kind() == std::io::ErrorKind::BrokenPipe,
            Self::Json(error) => error.io_error_kind() == Some(std::io::ErrorKind::BrokenPipe),
            _ => false,
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = hang::mind_loading().map_err(CommandError::from);
    match done.and_then(|()| commands::dispatch(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_plugin_and_no_tag_is_taken_twice() {
        let registry = with_builtins().unwrap();
        let mut slots: Vec<_> = registry.entries().map(|entry| entry.slot).collect();
        slots.dedup();
        assert_eq!(slots.len(), 6);
    }
}
