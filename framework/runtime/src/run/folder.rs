//! The device's run folder: opened once, locked, resumed only by the same work.

use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::sample::RunKey;
use mobillm_plugin::Manifest;
use mobillm_wire::handshake::RunId;
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::run::file::{read_json, read_versioned, replace, replace_json, replace_secret_json};
use crate::run::summary::{DeviceSummary, EpochSummary, LinkSummary, ServerSummary, Summary};
use crate::run::{lock, then_and_now};

/// Version 1 had no `own_prior`, version 2 no `plugins`; both are still read.
const FORMAT: u32 = 3;
const FORMATS: RangeInclusive<u32> = 1..=FORMAT;
const STATE: &str = "state.json";
const CONFIG: &str = "config.toml";
const ADAPTER: &str = "adapter.safetensors";
const SUMMARY: &str = "summary.json";
/// Files and folders that a run writes, removed when it is begun afresh.
const WRITTEN: [&str; 8] =
    [STATE, CONFIG, ADAPTER, SUMMARY, "metrics.jsonl", "server", "compare.json", "report.html"];

/// What identifies the work of a run: it resumes only if all of it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The resolved config.
    pub config: Fingerprint,
    /// The rows that are used, and their split.
    pub data: Fingerprint,
    /// The bundle.
    pub bundle: Fingerprint,
    /// The dynamic libraries that components come from.
    #[serde(default)]
    pub plugins: Vec<Manifest>,
}

/// Where a run is: written after every epoch and at the end of every session. It holds the run's key
/// and is readable by its owner only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    format: u32,
    key: RunKey,
    work: Work,
    /// What a device whose backbone has no task head predicts by itself: the prior of the training
    /// rows, `[outputs]`. Later predictions start from it too.
    #[serde(default)]
    pub own_prior: Vec<f32>,
    /// Epochs whose adapter was received and evaluated.
    pub epochs: Vec<EpochSummary>,
    /// What each epoch has cost so far, begun ones included.
    pub spent: Vec<Spent>,
    /// The held-out metric without any training, once it is known.
    pub before: Option<f64>,
    /// Sums over the sessions so far.
    pub device: DeviceSummary,
    /// Sums over the sessions so far.
    pub link: LinkSummary,
    /// Sums over the sessions so far.
    pub server: ServerSummary,
    /// Sum over the sessions so far.
    pub wall_seconds: f64,
}

/// What an epoch has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Wall time.
    pub seconds: f64,
    /// The device's forward passes.
    pub device_seconds: f64,
    /// Bytes from device to server.
    pub bytes_up: u64,
}

impl RunState {
    /// What `epoch` has cost so far.
    pub fn spent(&mut self, epoch: u64) -> &mut Spent {
        let epoch = epoch as usize;
        if self.spent.len() <= epoch {
            self.spent.resize(epoch + 1, Spent::default());
        }
        &mut self.spent[epoch]
    }

    /// The dynamic libraries that the run was begun with.
    pub fn plugins(&self) -> &[Manifest] {
        &self.work.plugins
    }

    /// The run's secret.
    pub fn key(&self) -> &RunKey {
        &self.key
    }

    /// The run's public name: a function of the key that says nothing about it.
    pub fn run_id(&self) -> RunId {
        let key = self.key();
        RunId(format!("{}{}", key.sample_id(u64::MAX), key.sample_id(u64::MAX - 1)))
    }
}

/// A run folder, locked while this lives.
pub struct RunFolder {
    path: PathBuf,
    /// Where the run is.
    pub state: RunState,
    _lock: File,
}

impl RunFolder {
    /// Begins a run in `path`, or goes on with the unfinished one that is there. `own_prior` is the
    /// prior of the training rows.
    ///
    /// # Errors
    /// If another process has the folder, it holds a finished run, or one of other work.
    pub fn open(
        path: &Path,
        work: Work,
        own_prior: Vec<f32>,
        config_toml: &str,
    ) -> Result<Self, RunError> {
        let lock = lock(path)?;
        let file = path.join(STATE);
        let problem = |problem: String| RunError::Folder { path: path.to_owned(), problem };
        let state = if file.exists() {
            let mut state = Self::state(path)?;
            check(&state, &work).map_err(problem)?;
            if path.join(SUMMARY).exists() {
                return Err(problem("the run is finished; begin afresh with --fresh".into()));
            }
            state.format = FORMAT;
            state
        } else {
            let state = RunState {
                format: FORMAT,
                key: random_key()?,
                work,
                own_prior,
                epochs: Vec::new(),
                spent: Vec::new(),
                before: None,
                device: DeviceSummary::default(),
                link: LinkSummary::default(),
                server: ServerSummary::default(),
                wall_seconds: 0.0,
            };
            replace(&path.join(CONFIG), config_toml.as_bytes())?;
            replace_secret_json(&file, &state)?;
            state
        };
        Ok(Self { path: path.to_owned(), state, _lock: lock })
    }

    /// Removes what a run has written into `path`, and nothing else.
    ///
    /// # Errors
    /// If another process has the folder or a file cannot be removed.
    pub fn clear(path: &Path) -> Result<(), RunError> {
        if !path.exists() {
            return Ok(());
        }
        let _lock = lock(path)?;
        let entries = fs::read_dir(path).map_err(RunError::file("read", path))?;
        for entry in entries {
            let entry = entry.map_err(RunError::file("read", path))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !WRITTEN.contains(&&*name) && !name.starts_with("events.out.tfevents.") {
                continue;
            }
            let path = entry.path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(RunError::file("remove", path))?;
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes [`state`](Self::state).
    ///
    /// # Errors
    /// If it cannot be written; the last one then stays.
    pub fn save(&self) -> Result<(), RunError> {
        replace_secret_json(&self.path.join(STATE), &self.state)
    }

    /// Writes the adapter of the last epoch so far.
    ///
    /// # Errors
    /// If it cannot be written; the last one then stays.
    pub fn save_adapter(&self, adapter: &[u8]) -> Result<(), RunError> {
        replace(&self.path.join(ADAPTER), adapter)
    }

    /// Writes the summary, which marks the run as finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self, summary: &Summary) -> Result<(), RunError> {
        replace_json(&self.path.join(SUMMARY), summary)
    }

    /// The resolved config of the run folder `path`.
    pub fn config_path(path: &Path) -> PathBuf {
        path.join(CONFIG)
    }

    /// Where the run of the run folder `path` is.
    ///
    /// # Errors
    /// If it cannot be read, or is of another version.
    pub fn state(path: &Path) -> Result<RunState, RunError> {
        let remedy = "use the release that wrote it, or train again with `mobillm run CONFIG --out FOLDER --fresh`";
        read_versioned(path, STATE, FORMATS, remedy)
    }

    /// The figures of the run folder `path`, if the run there is finished.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn summary(path: &Path) -> Result<Option<Summary>, RunError> {
        let file = path.join(SUMMARY);
        if file.exists() { read_json(&file).map(Some) } else { Ok(None) }
    }

    /// The adapter of the run folder `path`.
    ///
    /// # Errors
    /// If there is none yet, or it cannot be read.
    pub fn adapter(path: &Path) -> Result<Vec<u8>, RunError> {
        let file = path.join(ADAPTER);
        if !file.exists() {
            let problem = "no adapter.safetensors; expected the folder of a run that has trained at \
                           least one epoch (`mobillm run CONFIG --out FOLDER`)";
            return Err(RunError::Folder { path: path.to_owned(), problem: problem.into() });
        }
        fs::read(&file).map_err(RunError::file("read", file))
    }
}

fn check(state: &RunState, work: &Work) -> Result<(), String> {
    let Work { config, data, bundle, plugins } = &state.work;
    let changed = [
        (*config != work.config).then(|| "another config".to_owned()),
        (*data != work.data).then(|| "other data".to_owned()),
        (*bundle != work.bundle).then(|| "another bundle".to_owned()),
        (*plugins != work.plugins).then(|| then_and_now(plugins, &work.plugins)),
    ];
    let changed: Vec<String> = changed.into_iter().flatten().collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the run there was begun with {}; put it back to go on, or begin afresh with --fresh",
        changed.join(" and ")
    ))
}

fn random_key() -> Result<RunKey, RunError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| RunError::File {
        action: "read random bytes from",
        path: "the system".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(RunKey::new(key))
}

#[cfg(test)]
mod tests {
    use mobillm_core::registry::Slot;

    use super::*;
    use crate::run::named;

    fn work(config: &[u8]) -> Work {
        let data = Fingerprint::of(b"data");
        let (config, bundle) = (Fingerprint::of(config), Fingerprint::of(b"bundle"));
        Work { config, data, bundle, plugins: Vec::new() }
    }

    #[test]
    fn a_state_and_a_summary_of_version_1_are_still_read() {
        let state: RunState =
            serde_json::from_str(include_str!("../../fixtures/state-v1.json")).unwrap();
        assert_eq!((state.format, state.epochs.len()), (1, 1));
        let summary: Summary =
            serde_json::from_str(include_str!("../../fixtures/summary-v1.json")).unwrap();
        assert_eq!((summary.format, summary.epochs), (1, state.epochs));
    }

    #[test]
    fn a_state_and_a_summary_of_version_2_are_still_read() {
        let state: RunState =
            serde_json::from_str(include_str!("../../fixtures/state-v2.json")).unwrap();
        assert_eq!((state.format, state.own_prior.len()), (2, 2));
        let summary: Summary =
            serde_json::from_str(include_str!("../../fixtures/summary-v2.json")).unwrap();
        assert_eq!((summary.format, &summary.link.emulated), (2, &state.link.emulated));
        assert_eq!(summary.device.held_out_forwarded, 907);
        assert_eq!(state.work.plugins, []);
    }

    #[test]
    fn a_state_of_version_3_is_read() {
        let state: RunState =
            serde_json::from_str(include_str!("../../fixtures/state-v3.json")).unwrap();
        assert_eq!((state.format, state.own_prior.len()), (3, 2));
        assert_eq!(named(state.plugins()), "acme-codes 0.1.0, file 5f70bf18");
    }

    #[test]
    fn a_state_of_a_later_version_is_refused_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(STATE), r#"{ "format": 4, "keys": [] }"#).unwrap();
        let error = RunFolder::state(folder.path()).unwrap_err().to_string();
        let said = "state.json has format 4; this release reads 1 to 3: use the release that wrote it, or train";
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn all_that_changed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let open = |work: Work| RunFolder::open(folder.path(), work, Vec::new(), "").map(drop);
        open(work(b"a")).unwrap();
        let data = Fingerprint::of(b"other");
        let error = open(Work { data, bundle: data, ..work(b"a") }).unwrap_err().to_string();
        assert!(error.contains("begun with other data and another bundle; put it back"), "{error}");
    }

    #[test]
    fn a_run_goes_on_only_with_the_same_plugins() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = |version: &str| Manifest {
            name: "acme-codes".to_owned(),
            version: version.to_owned(),
            abi: "1.0".to_owned(),
            slots: [Slot::Quantizer].into(),
            sha256: Some(Fingerprint::of(version.as_bytes())),
        };
        let work = |plugins: &[Manifest]| Work { plugins: plugins.to_vec(), ..work(b"a") };
        let open = |plugins: &[Manifest]| {
            RunFolder::open(folder.path(), work(plugins), Vec::new(), "schema = 1").map(drop)
        };
        open(&[plugin("0.1.0")]).unwrap();
        open(&[plugin("0.1.0")]).unwrap();
        for others in [&[][..], &[plugin("0.2.0")], &[plugin("0.1.0"), plugin("0.2.0")]] {
            let error = open(others).unwrap_err().to_string();
            let (then, now) = (named(&[plugin("0.1.0")]), named(others));
            let said = format!("begun with another set of plugins ({then}; now it is {now}); put");
            assert!(error.contains(&said), "{said:?} is not in {error:?}");
        }
        RunFolder::clear(folder.path()).unwrap();
        open(&[]).unwrap();
        let error = open(&[plugin("0.1.0")]).unwrap_err().to_string();
        assert!(error.contains("another set of plugins (none; now it is acme-codes "), "{error}");
    }

    #[test]
    fn a_run_goes_on_with_its_key_and_only_with_the_same_work() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunFolder::open(folder.path(), work(b"a"), vec![0.5], "schema = 1").unwrap();
        let id = first.state.run_id();
        let busy = RunFolder::open(folder.path(), work(b"a"), Vec::new(), "").err().unwrap();
        assert!(busy.to_string().contains("another mobillm process"), "{busy}");
        drop(first);
        assert_eq!(
            RunFolder::open(folder.path(), work(b"a"), Vec::new(), "").unwrap().state.run_id(),
            id
        );
        assert_eq!(RunFolder::state(folder.path()).unwrap().own_prior, [0.5]);
        let changed = RunFolder::open(folder.path(), work(b"b"), Vec::new(), "").err().unwrap();
        assert!(changed.to_string().contains("begun with another config;"), "{changed}");
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        RunFolder::clear(folder.path()).unwrap();
        assert!(folder.path().join("notes.txt").exists());
        let fresh = RunFolder::open(folder.path(), work(b"b"), Vec::new(), "").unwrap();
        assert_ne!(fresh.state.run_id(), id);
    }
}
