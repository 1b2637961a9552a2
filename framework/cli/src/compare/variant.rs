//! A config as a variant: checked, made fit for two processes, of the same work as the others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mobillm::check::sound;
use mobillm::config::{ConfigErrors, Draft, Loaded};
use mobillm::pipeline::prepare;
use mobillm::progress::{Unobserved, Watch};
use mobillm::run::file::replace;
use mobillm::{Environment, RunError, Stop};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_plugin::Manifest;
use mobillm_report::Machine;
use serde_json::{Value, json};

use crate::commands::config_name;
use crate::{CommandError, hang};

/// Where a server listens if nobody has said where: the system chooses the port.
pub(super) const ANY_PORT: &str = "127.0.0.1:0";

/// What of a task two variants may have of their own: what it is called, where its rows stand and how
/// they are read. That the rows are the same is seen from the rows.
const NOT_THE_WORK: [&str; 5] = ["name", "train", "held_out", "format", "header"];

/// A config to compare.
pub(crate) struct Variant {
    name: String,
    /// The key of the transport whose address is for us to choose.
    loopback: Option<String>,
    loaded: Loaded,
    /// The config in a form that means the same wherever it stands.
    toml: String,
    /// The rows and their split.
    data: Fingerprint,
    /// Everything that its figures follow from, but for the seed.
    fingerprint: Fingerprint,
}

/// The variants that `configs`, each changed by `sets`, describe.
///
/// # Errors
/// With all mistakes of all of them, or with all reasons why they cannot be compared.
pub(crate) fn variants(
    configs: &[PathBuf],
    sets: &[String],
    environment: &Environment,
) -> Result<Vec<Variant>, CommandError> {
    check_names(configs)?;
    let checked = configs.iter().map(|config| Variant::new(config, sets, environment));
    let (variants, mut wrong): (Vec<_>, Vec<_>) = partition(checked);
    if let (true, Some((first, others))) = (wrong.is_empty(), variants.split_first()) {
        let checked = others.iter().map(|variant| Ok(variant.check_same_work(first)?));
        wrong = partition::<()>(checked).1;
    }
    if wrong.is_empty() { Ok(variants) } else { Err(CommandError::Configs(wrong)) }
}

/// Values and errors apart.
fn partition<T>(results: impl Iterator<Item = Result<T, RunError>>) -> (Vec<T>, Vec<RunError>) {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    (values, errors)
}

fn check_names(configs: &[PathBuf]) -> Result<(), CommandError> {
    for (at, second) in configs.iter().enumerate() {
        let name = config_name(second);
        if let Some(first) = configs[..at].iter().find(|first| config_name(first) == name) {
            let (first, second) = (first.clone(), second.clone());
            return Err(CommandError::SameName { name, first, second });
        }
    }
    Ok(())
}

impl Variant {
    fn new(config: &Path, sets: &[String], environment: &Environment) -> Result<Self, RunError> {
        let load = |sets: &[String]| {
            let draft = Draft::read(config, sets, &environment.registry)?;
            hang::mind(&draft.plugins, draft.patience_seconds(), &Stop::default())
                .map_err(RunError::file("mind the plugins of", config))?;
            sound(draft, environment)
        };
        let written = load(sets)?;
        let loopback = loopback(written.resolved());
        let loaded = match &loopback {
            Some(key) => load(&[sets, &[listens(key, ANY_PORT)]].concat())?,
            None => written,
        };
        let watch = Watch { observer: &Unobserved, stop: Stop::default() };
        let (assembly, prepared) = prepare(&loaded, environment, &watch)?;
        let data = prepared.fingerprint;
        let toml = loaded
            .to_absolute_toml()
            .map_err(RunError::file("make absolute the paths of", config))?;
        let unseeded = with_seed(loaded.resolved(), 0);
        let plugins = loaded.libraries();
        let fingerprint =
            fingerprint(&unseeded, data, assembly.info.bundle, &plugins, &Machine::here());
        Ok(Self { name: config_name(config), loopback, loaded, toml, data, fingerprint })
    }

    /// What it is called: as its file is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The seed that its config says.
    pub(super) fn seed(&self) -> u64 {
        self.loaded.config.training.seed
    }

    /// Its config as it is run, with all defaults filled in, but for the seed, which is `seed`.
    pub(super) fn resolved(&self, seed: u64) -> Value {
        with_seed(self.loaded.resolved(), seed)
    }

    /// Its folder in `runs`: another one as soon as its figures could be others.
    pub(super) fn folder(&self, runs: &Path) -> PathBuf {
        runs.join(format!("{}-{}", self.name, self.fingerprint.short()))
    }

    /// Writes its config into its folder in `runs`, and returns where. The runs do not change with the
    /// file that was given, which may be edited meanwhile.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, runs: &Path) -> Result<PathBuf, RunError> {
        let folder = self.folder(runs);
        fs::create_dir_all(&folder).map_err(RunError::file("make the folder", &folder))?;
        // What is run is called as its file is.
        let config = folder.join(format!("{}.toml", self.name));
        replace(&config, self.toml.as_bytes())?;
        Ok(config)
    }

    /// How the written config is changed for the run with `seed` whose server listens on `address`.
    pub(super) fn sets(&self, seed: u64, address: &str) -> Vec<String> {
        let address = self.loopback.iter().map(|key| listens(key, address));
        [format!("training.seed={seed}")].into_iter().chain(address).collect()
    }

    /// Every reason why it does not answer the same rows as `first`.
    fn check_same_work(&self, first: &Self) -> Result<(), ConfigErrors> {
        let base = format!("the config `{}`", first.name);
        let [ours, theirs] = [self, first].map(|variant| &variant.loaded.resolved()["task"]);
        let keys =
            [ours, theirs].into_iter().flat_map(Value::as_object).flat_map(|table| table.keys());
        let keys: BTreeSet<&str> = keys.map(String::as_str).collect();
        let mut found: Vec<Diagnostic> = keys
            .into_iter()
            .filter(|key| !NOT_THE_WORK.contains(key) && ours.get(key) != theirs.get(key))
            .map(|key| {
                let problem =
                    format!("{} here, {} in {base}", shown(ours, key), shown(theirs, key));
                Diagnostic::new(format!("task.{key}"), problem)
            })
            .collect();
        if found.is_empty() && self.data != first.data {
            let problem =
                format!("the rows, or which of them are held out, are not those of {base}");
            found.push(Diagnostic::new("task.train", problem));
        }
        if found.is_empty() {
            return Ok(());
        }
        Err(self.loaded.errors(found.into_iter().map(|found| {
            found.expected("the same work").help("variants may differ in everything but the task")
        })))
    }
}

/// The config `resolved` with another seed.
fn with_seed(resolved: &Value, seed: u64) -> Value {
    let mut resolved = resolved.clone();
    resolved["training"]["seed"] = seed.into();
    resolved
}

/// What the figures of a run follow from, but for its seed: the work, and who does it on what. Runs of
/// another machine or program are no pairs.
fn fingerprint(
    config: &Value,
    data: Fingerprint,
    bundle: Fingerprint,
    plugins: &[Manifest],
    Machine { cores, os, cpu }: &Machine,
) -> Fingerprint {
    let version = env!("CARGO_PKG_VERSION");
    let mut all = format!("{config}\n{data}\n{bundle}\nmobillm {version}\n{cores}\n{os}\n{cpu}");
    if !plugins.is_empty() {
        all += &format!("\n{}", json!(plugins));
    }
    Fingerprint::of(all.as_bytes())
}

/// The value of `key` as a message shows it.
fn shown(table: &Value, key: &str) -> String {
    table.get(key).map_or_else(|| "not set".to_owned(), Value::to_string)
}

/// The key of the transport in the innermost place of `resolved`, if its address is for us to choose:
/// one within a process is replaced, and one that binds an address would be taken if two did. Any other
/// is used as it stands.
fn loopback(resolved: &Value) -> Option<String> {
    let mut key = "link.transport".to_owned();
    let mut transport = &resolved["link"]["transport"];
    while transport["inner"].is_object() {
        key += ".inner";
        transport = &transport["inner"];
    }
    matches!(transport["type"].as_str(), Some("in-memory" | "tcp")).then_some(key)
}

/// The `--set` that puts the transport at `key` on `address`. Other options of a `tcp` there stay.
fn listens(key: &str, address: &str) -> String {
    format!("{key}={{type=\"tcp\", address=\"{address}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_transport_is_put_on_a_loopback_address() {
        let key = |transport: Value| loopback(&json!({ "link": { "transport": transport } }));
        assert_eq!(key(json!({"type": "in-memory"})).unwrap(), "link.transport");
        let tcp = json!({"type": "tcp", "address": "127.0.0.1:7340"});
        assert_eq!(key(json!({"type": "slow", "inner": tcp})).unwrap(), "link.transport.inner");
        assert_eq!(key(json!({"type": "acme.quic"})), None);
    }

    #[test]
    fn figures_of_another_origin_have_another_folder() {
        let [data, bundle] = ["data", "bundle"].map(|name| Fingerprint::of(name.as_bytes()));
        let config = Value::from("a config");
        let here = Machine { cores: 2, os: "linux".into(), cpu: "a CPU".into() };
        let plugin = Manifest {
            name: "acme-codes".into(),
            version: "0.1.0".into(),
            abi: "1.0".into(),
            slots: BTreeSet::new(),
            sha256: Some(data),
        };
        let rebuilt = Manifest { sha256: Some(bundle), ..plugin.clone() };
        let folders = [
            fingerprint(&config, data, bundle, &[], &here),
            fingerprint(&Value::from("another"), data, bundle, &[], &here),
            fingerprint(&config, bundle, bundle, &[], &here),
            fingerprint(&config, data, data, &[], &here),
            fingerprint(&config, data, bundle, &[plugin], &here),
            fingerprint(&config, data, bundle, &[rebuilt], &here),
            fingerprint(&config, data, bundle, &[], &Machine { cores: 4, ..here.clone() }),
            fingerprint(
                &config,
                data,
                bundle,
                &[],
                &Machine { os: "macos".into(), ..here.clone() },
            ),
            fingerprint(
                &config,
                data,
                bundle,
                &[],
                &Machine { cpu: "other".into(), ..here.clone() },
            ),
        ];
        let distinct: BTreeSet<String> = folders.iter().map(Fingerprint::short).collect();
        assert_eq!(distinct.len(), folders.len());
    }
}
