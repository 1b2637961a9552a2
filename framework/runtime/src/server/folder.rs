//! What the server keeps of a run: one file that says where it is, a checkpoint, and the adapters of
//! the epochs that the device has not received yet.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::side_network::SideNetworkContext;
use mobillm_wire::handshake::{Hello, Refusal, RunId};
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::run::file::{read_json, replace, replace_json};
use crate::run::lock;

const FORMAT: u32 = 1;
const STATE: &str = "server.json";
const ACKS: &str = "acks";
const ACK_BYTES: u64 = mobillm_wire::frame::ACK_BYTES as u64;

/// Where a run is. The checkpoint file that it names was complete before this was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    run: RunId,
    pipeline: Fingerprint,
    side_network: SideNetworkContext,
    next_step: u64,
    checkpoint: Option<String>,
    finished: bool,
}

/// A server's folder of one run, locked while this lives.
pub struct ServerFolder {
    path: PathBuf,
    state: Option<State>,
    /// The acknowledgement of every step, frame after frame, for devices that miss some.
    acks: File,
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
        let state: Option<State> = if file.exists() { Some(read_json(&file)?) } else { None };
        if let Some(state) = state.as_ref().filter(|state| state.format != FORMAT) {
            return Err(RunError::Folder {
                path: path.to_owned(),
                problem: format!(
                    "format {}; this release reads {FORMAT}. Use another folder",
                    state.format
                ),
            });
        }
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
        Ok(Self { path: path.to_owned(), state, acks, _lock: lock })
    }

    /// Takes up the run of `hello`: a new one, or the one that is here already.
    ///
    /// # Errors
    /// A refusal if another run, or the same run with other dimensions, is here.
    pub fn enter(&mut self, hello: &Hello) -> Result<(), Refusal> {
        match &self.state {
            None => {
                self.state = Some(State {
                    format: FORMAT,
                    run: hello.run.clone(),
                    pipeline: hello.pipeline,
                    side_network: hello.side_network.clone(),
                    next_step: 0,
                    checkpoint: None,
                    finished: false,
                });
                Ok(())
            }
            Some(state) if state.run != hello.run => Err(Refusal::new(format!(
                "the folder {} holds another run; start the server with another --out",
                self.path.display()
            ))),
            Some(state)
                if (state.pipeline, &state.side_network)
                    != (hello.pipeline, &hello.side_network) =>
            {
                Err(Refusal::new(
                    "the run was begun with another config or bundle; go on with the old one, or \
                     begin a new run"
                        .into(),
                ))
            }
            Some(_) => Ok(()),
        }
    }

    /// The first step that is not in the checkpoint.
    pub fn next_step(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.next_step)
    }

    /// Whether the run was finished.
    pub fn is_finished(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.finished)
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

    /// Writes down the acknowledgement of the next step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note(&mut self, ack: &Bytes) -> Result<(), RunError> {
        let mut write = || {
            self.acks.seek(SeekFrom::End(0))?;
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
        self.acks.sync_data().map_err(RunError::file("write", self.path.join(ACKS)))?;
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

    /// Marks the run as finished.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn finish(&mut self) -> Result<(), RunError> {
        self.update(|state| state.finished = true)
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
        let result = change(state);
        replace_json(&self.path.join(STATE), state)?;
        Ok(result)
    }
}
