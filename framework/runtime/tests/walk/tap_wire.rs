//! A wire on which somebody listens.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use mobillm::device::Prepared;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::transport::{
    FrameSink, Lane, Link, Listener, Transport, TransportConfig, TransportError,
};
use mobillm_transport_in_memory::InMemoryConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setup::Setup;

/// The transport of a config whose device is listened to.
pub const CAPTURE: &str = "link.transport={type=\"capture\"}";

/// Everything that the device sent since it was emptied.
static CAPTURED: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

/// Tests that capture take turns where they share a process.
static TURN: Mutex<()> = Mutex::new(());

/// The result of `run`, and every frame that the device sent meanwhile.
pub fn captured<T>(run: impl FnOnce() -> T) -> (T, Vec<Bytes>) {
    // A test that failed in its turn has left what it captured.
    let _turn = TURN.lock().unwrap_or_else(|failed| failed.into_inner());
    CAPTURED.lock().unwrap().clear();
    let result = run();
    (result, std::mem::take(&mut *CAPTURED.lock().unwrap()))
}

/// A wire that delivers, and remembers what the device sent.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureConfig {}

impl Plugin for CaptureConfig {
    const SLOT: Slot = Slot::Transport;
    const TAG: &'static str = "capture";
}

#[typetag::serde(name = "capture")]
impl TransportConfig for CaptureConfig {
    fn check(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn crosses_processes(&self) -> bool {
        false
    }

    fn build(&self) -> Box<dyn Transport> {
        Box::new(Capture(InMemoryConfig::default().build()))
    }
}

struct Capture(Box<dyn Transport>);

#[async_trait]
impl Transport for Capture {
    async fn connect(&self) -> Result<Link, TransportError> {
        let link = self.0.connect().await?;
        Ok(Link { sink: Box::new(CaptureSink(link.sink)), ..link })
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        self.0.listen().await
    }

    fn overhead(&self) -> usize {
        self.0.overhead()
    }
}

struct CaptureSink(Box<dyn FrameSink>);

#[async_trait]
impl FrameSink for CaptureSink {
    async fn send(&mut self, frame: Bytes, lane: Lane) -> Result<(), TransportError> {
        CAPTURED.lock().unwrap().push(frame.clone());
        self.0.send(frame, lane).await
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.0.close().await
    }
}

/// Whether `needle` is among `bytes`.
pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// No text, label's name, token id, path or host name is in `frames`.
#[track_caller]
pub fn assert_private(frames: &[Bytes], setup: &Setup, prepared: &Prepared) {
    let all = frames.concat();
    let absent = |needle: &[u8], what: &str| {
        assert!(!holds(&all, needle), "{what} is on the wire");
    };
    for text in ["good", "early", "happy", "toy.tsv"] {
        absent(text.as_bytes(), text);
    }
    absent(setup.folder.path().to_str().unwrap().as_bytes(), "a path");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // A name of a few letters is in any 60 kB by chance.
    if host.trim().len() > 5 {
        absent(host.trim().as_bytes(), "the host's name");
    }
    for tokens in prepared.train.tokens.iter().filter(|tokens| tokens.ids.len() > 4) {
        for width in [4, 8] {
            let ids: Vec<u8> = tokens
                .ids
                .iter()
                .flat_map(|&id| u64::from(id).to_le_bytes()[..width].to_vec())
                .collect();
            absent(&ids, "a row of token ids");
        }
    }
}
