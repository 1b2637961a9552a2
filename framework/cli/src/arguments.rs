//! What may be written after `mobillm`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Fine-tune a language model for a device that can only run it.
#[derive(Debug, Parser)]
#[command(name = "mobillm", version, max_term_width = 100)]
pub struct Arguments {
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no notes, only the result.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fine-tune: device and server in this process.
    Run(RunArguments),
    /// Fine-tune: the server's half, for `mobillm device` in another process.
    Server(ServerArguments),
    /// Fine-tune: the device's half, with `mobillm server` in another process.
    Device(RunArguments),
    /// Answer texts with the result of a run.
    Predict(PredictArguments),
    /// Score the result of a run on a labelled file.
    Eval(EvalArguments),
    /// Make a bundle of a model in Hugging Face's layout.
    Import(ImportArguments),
    /// Show what a config amounts to: stages, shapes, everything that leaves the device.
    Inspect(InspectArguments),
    /// Check a config and its data, without loading the model.
    Check(ConfigArguments),
    /// Fetch models, data and native libraries by name, through pip.
    Pull(PullArguments),
}

/// A config and changes to it.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// The config file.
    pub config: PathBuf,
    /// Change one value: `--set device.quantizer.block=128`. May be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Of `run` and `device`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// What to run.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The run folder; an unfinished run there is gone on with. [default: runs/NAME OF THE CONFIG]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Remove what a run has left in the folder, and begin afresh.
    #[arg(long)]
    pub fresh: bool,
}

/// Of `server`.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// What to serve.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Where the server keeps the run. [default: runs/NAME OF THE CONFIG-server]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Of `predict`.
#[derive(Debug, Args)]
pub struct PredictArguments {
    /// The run folder.
    pub run: PathBuf,
    /// The texts; without any, each line of stdin is one.
    pub texts: Vec<String>,
    /// The second text of a pair, when the task has pairs and one text is given.
    #[arg(long, value_name = "TEXT")]
    pub pair: Option<String>,
}

/// Of `eval`.
#[derive(Debug, Args)]
pub struct EvalArguments {
    /// The run folder.
    pub run: PathBuf,
    /// A labelled file with the columns of the run's task.
    pub file: PathBuf,
}

/// Of `import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// A folder with config.json, safetensors and tokenizer.json.
    pub source: PathBuf,
    /// The bundle's folder, which must not be there yet.
    pub out: PathBuf,
}

/// Of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// What to look at.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Which part of it.
    #[arg(long, value_enum, default_value_t = Part::All)]
    pub part: Part,
}

/// A part of what `inspect` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Everything.
    All,
    /// The config with all defaults filled in.
    Config,
    /// Stages, shapes and bytes.
    Assembly,
    /// Everything that leaves the device.
    Egress,
}

/// Of `pull`.
#[derive(Debug, Args)]
pub struct PullArguments {
    /// What to fetch; without a name, what there is.
    pub names: Vec<String>,
}
