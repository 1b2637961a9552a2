//! What may be written after `mobillm plugins`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mobillm_core::registry::Slot;
use serde_json::{Map, Value};

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// List every plugin that a config may name.
    List(ListArguments),
    /// Show a plugin: its options with types and defaults, and an example.
    Show(ShowArguments),
    /// Judge a library by its manifest, its ABI and the laws of the slots that it fills.
    Check(CheckArguments),
    /// Begin a plugin: a folder that builds and passes `plugins check` as it is.
    New(NewArguments),
    /// One task of `plugins check`, which may end this process.
    #[command(hide = true)]
    Trial(TrialArguments),
}

/// Where plugins come from, beside those linked in. What is named here is loaded: its code runs.
#[derive(Debug, Args)]
pub struct PluginSources {
    /// A config, whose `[plugins] load` is loaded.
    pub config: Option<PathBuf>,
    /// A library to load. May be given many times.
    #[arg(long = "load", value_name = "PATH")]
    pub libraries: Vec<PathBuf>,
}

/// Of `plugins list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Where plugins come from.
    #[command(flatten)]
    pub sources: PluginSources,
}

/// Of `plugins show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// What a config's `type` says; what fills two slots is shown for both.
    pub tag: String,
    /// Where plugins come from.
    #[command(flatten)]
    pub sources: PluginSources,
}

/// Of `plugins check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The library.
    pub file: PathBuf,
    /// Write the manifest beside the library, once it has passed. An older one stays until then.
    #[arg(long)]
    pub seal: bool,
    /// Options for a component, such as `acme.q6={"group":32}`; without, it is tried with its defaults, and with the
    /// example that its schema has of an option without one. May be given many times.
    #[arg(long, value_name = "TAG=JSON", value_parser = tagged_options)]
    pub options: Vec<TaggedOptions>,
    /// Seconds that a law may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: u64,
}

/// Options for the component of a tag.
#[derive(Debug, Clone)]
pub struct TaggedOptions {
    /// What a config's `type` says.
    pub tag: String,
    /// The rest of its table.
    pub options: Map<String, Value>,
}

fn tagged_options(text: &str) -> Result<TaggedOptions, String> {
    let expected = "expected a tag, `=` and an object of JSON, such as `acme.q6={\"group\":32}`";
    let (tag, json) = text.split_once('=').ok_or(expected)?;
    let options = serde_json::from_str(json).map_err(|error| format!("{error}; {expected}"))?;
    Ok(TaggedOptions { tag: tag.to_owned(), options })
}

/// Of `plugins trial`.
#[derive(Debug, Args)]
pub struct TrialArguments {
    /// The library.
    pub file: PathBuf,
    /// What to do with it, as JSON.
    #[arg(long)]
    pub task: String,
    /// Seconds after which it is said which call has not come back.
    #[arg(long)]
    pub patience: u64,
}

/// Of `plugins new`.
#[derive(Debug, Args)]
pub struct NewArguments {
    /// The plugin's name, such as `acme-q6`, whose first word is yours: configs say `acme.q6`. It is also the name of
    /// the folder, which must not be there yet.
    pub name: String,
    /// What it fills.
    #[arg(long, value_enum)]
    pub slot: SlotName,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// Where mobillm's sources are. A plugin in Rust is built with them, as long as mobillm's crates are not published.
    #[arg(long, value_name = "FOLDER")]
    pub framework: Option<PathBuf>,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust, with the kit that makes a config twin a plugin.
    Rust,
    /// C, with the header alone.
    C,
}

/// A slot, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SlotName {
    /// Runs the frozen model.
    Backbone,
    /// Chooses layers and tokens.
    Selector,
    /// Decides what the server may see.
    PrivacyPolicy,
    /// Makes bytes of activations.
    Quantizer,
    /// Carries frames.
    Transport,
    /// Is trained.
    SideNetwork,
}

impl From<SlotName> for Slot {
    fn from(name: SlotName) -> Self {
        match name {
            SlotName::Backbone => Self::Backbone,
            SlotName::Selector => Self::Selector,
            SlotName::PrivacyPolicy => Self::PrivacyPolicy,
            SlotName::Quantizer => Self::Quantizer,
            SlotName::Transport => Self::Transport,
            SlotName::SideNetwork => Self::SideNetwork,
        }
    }
}
