//! What crosses the link, looked at as somebody who captures it would.

use bytes::Bytes;
use mobillm::egress::Counts;
use mobillm::pipeline::{prepare, run};
use mobillm_wire::frame::Frame;

use crate::setup::{Notes, Setup};
use crate::tap_wire::{CAPTURE, CaptureConfig, assert_private, captured};

#[test]
fn a_capture_holds_what_the_egress_manifest_says_and_no_more() {
    let mut setup = Setup::new();
    setup.environment.registry.register::<CaptureConfig>("test").unwrap();
    let loaded = setup.load(&[CAPTURE]);
    let notes = Notes::default();
    let options = setup.options("run");
    let (summary, frames) =
        captured(|| run(&loaded, &setup.environment, &options, &notes.watch()).unwrap());

    let (assembly, prepared) = prepare(&loaded, &setup.environment, &notes.watch()).unwrap();
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
    let mut setup = Setup::new();
    setup.environment.registry.register::<CaptureConfig>("test").unwrap();
    let loaded = setup.load(&[CAPTURE, "device.backbone.nan_layer=3"]);
    let notes = Notes::default();
    let options = setup.options("run");
    let (_, frames) =
        captured(|| run(&loaded, &setup.environment, &options, &notes.watch()).unwrap_err());
    let last = Frame::parse(frames.last().unwrap().clone()).unwrap();
    assert_eq!(last, Frame::Failure(mobillm::device::GAVE_UP.into()));
    let (_, prepared) = prepare(&loaded, &setup.environment, &notes.watch()).unwrap();
    assert_private(&frames, &setup, &prepared);
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
