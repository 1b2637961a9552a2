//! What the server keeps of a run: one file that says where it is, a checkpoint, the acknowledgement
//! of every step, and the adapters of the epochs that the device may not have received.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::side_network::SideNetworkContext;
use mobillm_plugin::Manifest;
use mobillm_store::Store;
use mobillm_wire::handshake::{Hello, Refusal, RunId};
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::run::file::{read_versioned, replace, replace_json};
use crate::run::{lock, then_and_now};
use crate::server::cache::Cache;

/// Version 1 had no `samples` and no `steps_per_epoch`, version 2 no `plugins`; both are still read.
const FORMAT: u32 = 3;
const FORMATS: RangeInclusive<u32> = 1..=FORMAT;
const STATE: &str = "server.json";
const ACKS: &str = "acks";
const STORE: &str = "store";
const ACK_BYTES: u64 = mobillm_wire::frame::ACK_BYTES as u64;

/// Where a run is. The checkpoint file that it names was complete before this was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    run: RunId,
    pipeline: Fingerprint,
    side_network: SideNetworkContext,
    #[serde(default)]
    samples: u64,
    #[serde(default)]
    steps_per_epoch: u64,
    #[serde(default)]
    plugins: Vec<Manifest>,
    next_step: u64,
    checkpoint: Option<String>,
}

/// What a device has said of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunShape {
    /// The run's public name.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: Fingerprint,
    /// What its side network is built from.
    pub side_network: SideNetworkContext,
    /// Samples to train on.
    pub samples: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
}

impl RunShape {
    /// The shape of the run of `hello`.
    pub fn of(hello: &Hello) -> Self {
        Self {
            run: hello.run.clone(),
            pipeline: hello.pipeline,
            side_network: hello.side_network.clone(),
            samples: hello.samples,
            steps_per_epoch: hello.steps_per_epoch,
        }
    }
}

/// A server's folder of one run, locked while this lives.
pub struct ServerFolder {
    path: PathBuf,
    state: Option<State>,
    /// The acknowledgement of every step, frame after frame, for devices that miss some.
    acks: File,
    /// The samples that a run has in memory, between two connections.
    cache: Option<(RunShape, Cache)>,
    _lock: File,
}

impl ServerFolder {
    /// Opens or makes the folder `path`.
    ///
    /// # Errors
    /// If another process has it, or it is of another version.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let lock = lock(path)?;
        let file = path.join(STATE);
        let remedy = "use the release that wrote it, or start the server with another --out";
        let read = || read_versioned(path, STATE, FORMATS, remedy);
        let state: Option<State> = file.exists().then(read).transpose()?;
        let kept = state.as_ref().and_then(|state| state.checkpoint.as_deref());
        remove_checkpoints_but(path, kept)?;
        let acks = path.join(ACKS);
        let open = || {
            let file =
                File::options().create(true).truncate(false).read(true).write(true).open(&acks)?;
            // Steps after the checkpoint are trained again.
            let kept = state.as_ref().map_or(0, |state| state.next_step * ACK_BYTES);
            file.set_len(kept)?;
            Ok(file)
        };
        let acks = open().map_err(RunError::file("write", &acks))?;
        Ok(Self { path: path.to_owned(), state, acks, cache: None, _lock: lock })
    }

    /// Takes up the run of `hello`: a new one, or the one that is here already. `plugins` are the dynamic
    /// libraries that the server computes with.
    ///
    /// # Errors
    /// A refusal if another run, or the same run with other dimensions or plugins, is here.
    pub fn enter(&mut self, hello: &Hello, plugins: &[Manifest]) -> Result<(), Refusal> {
        match self.state.as_ref().filter(|_| self.has_work()) {
            None => {
                self.state = Some(State {
                    format: FORMAT,
                    run: hello.run.clone(),
                    pipeline: hello.pipeline,
                    side_network: hello.side_network.clone(),
                    samples: hello.samples,
                    steps_per_epoch: hello.steps_per_epoch,
                    plugins: plugins.to_vec(),
                    next_step: 0,
                    checkpoint: None,
                });
                Ok(())
            }
            Some(state) if state.run != hello.run => Err(Refusal::new(format!(
                "the folder {} holds another run; start the server with another --out",
                self.path.display()
            ))),
            Some(state)
                if (state.pipeline, &state.side_network, state.samples)
                    != (hello.pipeline, &hello.side_network, hello.samples) =>
            {
                Err(Refusal::new(
                    "the run was begun with another config or bundle, or by another release; go on \
                     with the old one, or begin a new run"
                        .into(),
                ))
            }
            Some(_) => self.check_plugins(plugins).map_err(Refusal::new),
        }
    }

    /// Whether the run that is here left anything to go on from: one that did not may be replaced. What cannot
    /// be looked into is not nothing.
    pub fn has_work(&self) -> bool {
        let holds_samples = || Store::holds_samples(&self.store_path()).unwrap_or(true);
        self.state.as_ref().is_some_and(|state| state.checkpoint.is_some() || holds_samples())
    }

    /// What is learnt with other plugins would not be what was begun.
    ///
    /// # Errors
    /// With the reason, if the run that is here was not begun with `plugins`.
    pub fn check_plugins(&self, plugins: &[Manifest]) -> Result<(), String> {
        match &self.state {
            Some(state) if state.plugins != plugins => Err(format!(
                "the folder {} holds a run that was begun with {}; put it back to go on, or begin a new run",
                self.path.display(),
                then_and_now(&state.plugins, plugins)
            )),
            _ => Ok(()),
        }
    }

    /// Writes down which run was entered, so that it can be gone on with before its first checkpoint.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_entry(&mut self) -> Result<(), RunError> {
        self.update(|_| ())
    }

    /// The run that is here, if there is one.
    pub fn shape(&self) -> Option<RunShape> {
        self.state.as_ref().map(|state| RunShape {
            run: state.run.clone(),
            pipeline: state.pipeline,
            side_network: state.side_network.clone(),
            samples: state.samples,
            steps_per_epoch: state.steps_per_epoch,
        })
    }

    /// The samples that the run `shape` has left here.
    pub(super) fn take_cache(&mut self, shape: &RunShape) -> Option<Cache> {
        self.cache.take().filter(|(of, _)| of == shape).map(|(_, cache)| cache)
    }

    /// Leaves the samples of the run `shape` here.
    pub(super) fn put_cache(&mut self, shape: RunShape, cache: Cache) {
        self.cache = Some((shape, cache));
    }

    /// Where its samples are kept.
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// The first step that is not in the checkpoint.
    pub fn next_step(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.next_step)
    }

    /// The last checkpoint, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, RunError> {
        let Some(name) = self.state.as_ref().and_then(|state| state.checkpoint.as_ref()) else {
            return Ok(None);
        };
        let path = self.path.join(name);
        fs::read(&path).map(Some).map_err(RunError::file("read", path))
    }

    /// Writes down the acknowledgement of `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note(&mut self, step: u64, ack: &Bytes) -> Result<(), RunError> {
        let mut write = || {
            self.acks.seek(SeekFrom::Start(step * ACK_BYTES))?;
            self.acks.write_all(ack)
        };
        write().map_err(RunError::file("write", self.path.join(ACKS)))
    }

    /// The acknowledgement of `step`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn ack(&mut self, step: u64) -> Result<Bytes, RunError> {
        let mut ack = vec![0; ACK_BYTES as usize];
        let mut read = || {
            self.acks.seek(SeekFrom::Start(step * ACK_BYTES))?;
            self.acks.read_exact(&mut ack)
        };
        read().map_err(RunError::file("read", self.path.join(ACKS)))?;
        Ok(ack.into())
    }

    /// Keeps `checkpoint` as the state before step `next_step`, then lets the one before go.
    ///
    /// # Errors
    /// If it cannot be written; the one before then stays.
    pub fn keep(&mut self, next_step: u64, checkpoint: &[u8]) -> Result<(), RunError> {
        self.check_acks(next_step).map_err(RunError::file("write", self.path.join(ACKS)))?;
        let name = format!("checkpoint-{next_step}.safetensors");
        replace(&self.path.join(&name), checkpoint)?;
        let before = self.update(|state| {
            state.next_step = next_step;
            state.checkpoint.replace(name.clone())
        })?;
        if let Some(before) = before.filter(|before| *before != name) {
            let path = self.path.join(before);
            fs::remove_file(&path).map_err(RunError::file("remove", path))?;
        }
        Ok(())
    }

    /// A checkpoint whose acknowledgements are not all there would be one that no device can go on
    /// from.
    fn check_acks(&self, steps: u64) -> io::Result<()> {
        if self.acks.metadata()?.len() < steps * ACK_BYTES {
            return Err(io::Error::other("an acknowledgement is missing"));
        }
        self.acks.sync_data()
    }

    /// Removes the adapters of `epochs` epochs, which the device has received.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn forget_adapters(&self, epochs: u32) -> Result<(), RunError> {
        for epoch in (0..epochs).rev() {
            let path = self.adapter_path(epoch);
            if !path.exists() {
                break;
            }
            fs::remove_file(&path).map_err(RunError::file("remove", path))?;
        }
        Ok(())
    }

    /// Keeps the adapter of `epoch`, for a device that goes away before it has received it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_adapter(&self, epoch: u32, adapter: &[u8]) -> Result<(), RunError> {
        replace(&self.adapter_path(epoch), adapter)
    }

    /// The adapter of `epoch`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn adapter(&self, epoch: u32) -> Result<Bytes, RunError> {
        let path = self.adapter_path(epoch);
        fs::read(&path).map(Bytes::from).map_err(RunError::file("read", path))
    }

    fn adapter_path(&self, epoch: u32) -> PathBuf {
        self.path.join(format!("adapter-epoch-{epoch}.safetensors"))
    }

    fn update<T>(&mut self, change: impl FnOnce(&mut State) -> T) -> Result<T, RunError> {
        let Some(state) = &mut self.state else {
            let problem = "no run has been entered".to_owned();
            return Err(RunError::Folder { path: self.path.clone(), problem });
        };
        state.format = FORMAT;
        let result = change(state);
        replace_json(&self.path.join(STATE), state)?;
        Ok(result)
    }
}

/// A server that was killed while it changed from one checkpoint to the next has left both.
fn remove_checkpoints_but(folder: &Path, kept: Option<&str>) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(RunError::file("read", folder))? {
        let path = entry.map_err(RunError::file("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("checkpoint-") && kept != Some(&*name) {
            fs::remove_file(&path).map_err(RunError::file("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
