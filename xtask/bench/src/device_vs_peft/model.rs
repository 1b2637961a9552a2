//! SmolLM2 in several weight formats, and the config that is measured.

use std::fs;
use std::path::PathBuf;

use mobillm::Environment;
use mobillm::config::{Config, Loaded};
use mobillm_bundle::{ImportOptions, import};
use mobillm_core::backbone::NativeLibraries;
use mobillm_pull::{Cache, locate};
use mobillm_weights::WeightFormat;
use tempfile::TempDir;

use crate::Error;

/// Of both sides.
pub const THREADS: usize = 2;
/// Rows that go forward together, on both sides.
pub const BATCH: usize = 16;
/// What the words of a review are followed by.
pub const TEMPLATE: &str = "Review: {text}\\nSentiment:";
/// What the model says instead of a label.
pub const LABEL_WORDS: [&str; 2] = [" negative", " positive"];

const MODEL: &str = "smollm2-135m-instruct";

/// The model's file, its bundles and the plugins.
pub struct Model {
    /// Plugins and libraries; `pull:NAME` is what the cache has, and the bundles made here.
    pub environment: Environment,
    /// The model as it was fetched.
    pub gguf: PathBuf,
    folder: TempDir,
}

impl Model {
    /// Makes bundles in `formats` of the pulled model.
    pub fn new(formats: &[WeightFormat]) -> Result<Self, Error> {
        let cache = Cache::user()?;
        let folder = TempDir::new()?;
        let gguf = locate(&cache, MODEL)
            .ok_or("the model is not there; `cargo xtask bench device-vs-peft` fetches it")?;
        for format in formats {
            let options = ImportOptions { weights: Some(*format), ..ImportOptions::default() };
            import(&gguf, &folder.path().join(format!("{MODEL}@{format}")), &options)?;
        }
        let library = locate(&cache, "onnxruntime").map(|path| ("onnxruntime".to_owned(), path));
        let bundles = folder.path().to_owned();
        let environment = Environment {
            registry: mobillm_cli::with_builtins()?,
            libraries: NativeLibraries(library.into_iter().collect()),
            pulled: Box::new(move |name| {
                let bundle = bundles.join(name);
                if bundle.exists() { Some(bundle) } else { locate(&cache, name) }
            }),
        };
        Ok(Self { environment, gguf, folder })
    }

    /// The SMS messages, put to the model as if they were reviews: rows of real length for whoever counts
    /// tokens and bytes.
    pub fn messages(&self, format: WeightFormat) -> Result<Loaded, Error> {
        let [negative, positive] = LABEL_WORDS;
        let text = format!(
            r#"schema = 1
            [task]
            name = "messages"
            train = "pull:sms-spam"
            format = "tsv"
            header = false
            columns = {{ label = 0, text = 1 }}
            labels = ["ham", "spam"]
            prompt = {{ template = "{TEMPLATE}", label_words = ["{negative}", "{positive}"] }}
            held_out_share = 0.01
            [device]
            bundle = "pull:{MODEL}@{format}"
            max_tokens = 64
            micro_batch = {BATCH}
            backbone = {{ type = "onnxruntime", threads = {THREADS} }}
            [training]
            epochs = 1
            batch = {BATCH}
            "#
        );
        let path = self.folder.path().join("messages.toml");
        fs::write(&path, text)?;
        Ok(Config::load(&path, &[], &self.environment.registry)?)
    }
}
