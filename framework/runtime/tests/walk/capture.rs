//! What crosses the link, looked at as somebody who captures it would.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use mobillm::assembly::Assembly;
use mobillm::device::Prepared;
use mobillm::egress::Counts;
use mobillm::pipeline::{prepare_data, run};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::transport::{
    FrameSink, Lane, Link, Listener, Transport, TransportConfig, TransportError,
};
use mobillm_transport_in_memory::InMemoryConfig;
use mobillm_wire::frame::Frame;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setup::{Notes, Setup};

/// Everything that the device sent in the test that captures.
static CAPTURED: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

/// Tests that capture take turns where they share a process.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CaptureConfig {}

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

#[test]
fn a_capture_holds_what_the_egress_manifest_says_and_no_more() {
    let _turn = TURN.lock().unwrap();
    let mut setup = Setup::new();
    setup.environment.registry.register::<CaptureConfig>("test").unwrap();
    let loaded = setup.load(&["link.transport={type=\"capture\"}"]);
    let notes = Notes::default();
    let summary = run(&loaded, &setup.environment, &setup.options("run"), &notes.watch()).unwrap();
    let frames = std::mem::take(&mut *CAPTURED.lock().unwrap());

    let assembly = Assembly::new(&loaded, &setup.environment).unwrap();
    let prepared = prepare_data(&loaded, &setup.environment, &assembly, &notes.watch()).unwrap();
    let tokens: usize = prepared.train.tokens.iter().map(|tokens| tokens.ids.len()).sum();
    let windows = (0..prepared.schedule.windows()).map(|window| prepared.schedule.window(window));
    let counts = Counts {
        micro_batches: windows.map(|window| window.micro_batches.len() as u64).sum(),
        samples: 4 * 48,
        rows: 4 * tokens as u64,
        steps: prepared.schedule.steps(),
    };
    let captured: usize = frames.iter().map(Bytes::len).sum();
    let work = prepared.work(&*assembly.selector);
    let expected = assembly.egress_of(work, prepared.schedule.steps()).bytes(&counts);
    assert_eq!(captured as u64, expected);
    assert_eq!(summary.link.bytes_up, expected);
    assert_private(&frames, &setup, &prepared);
}

#[test]
fn a_device_that_fails_says_nothing_but_that() {
    let _turn = TURN.lock().unwrap();
    let mut setup = Setup::new();
    setup.environment.registry.register::<CaptureConfig>("test").unwrap();
    let sets = ["link.transport={type=\"capture\"}", "device.backbone.nan_layer=3"];
    let loaded = setup.load(&sets);
    let notes = Notes::default();
    let options = setup.options("run");
    run(&loaded, &setup.environment, &options, &notes.watch()).unwrap_err();
    let frames = std::mem::take(&mut *CAPTURED.lock().unwrap());
    let last = Frame::parse(frames.last().unwrap().clone()).unwrap();
    assert_eq!(last, Frame::Failure(mobillm::device::GAVE_UP.into()));
    let assembly = Assembly::new(&loaded, &setup.environment).unwrap();
    let prepared = prepare_data(&loaded, &setup.environment, &assembly, &notes.watch()).unwrap();
    assert_private(&frames, &setup, &prepared);
}

/// No text, label's name, token id, path or host name is in `frames`.
fn assert_private(frames: &[Bytes], setup: &Setup, prepared: &Prepared) {
    let all = frames.concat();
    let absent = |needle: &[u8], what: &str| {
        assert!(!all.windows(needle.len()).any(|window| window == needle), "{what} is on the wire");
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

#[test]
fn sample_names_say_nothing_about_rows_or_texts() {
    let setup = Setup::new();
    setup.run(&["training.epochs=1"], "a").unwrap();
    setup.run(&["training.epochs=1"], "b").unwrap();
    let key = |out: &str| {
        let state = std::fs::read(setup.path(out).join("state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        state["key"].clone()
    };
    assert_ne!(key("a"), key("b"), "equal data gets other names in another run");
}
