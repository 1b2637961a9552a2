//! A server that keeps samples: later epochs need no device and change nothing.

use std::fs;
use std::path::Path;

use mobillm::config::Loaded;
use mobillm::run::summary::Summary;
use mobillm::{RunError, Stop, pipeline};
use mobillm_bundle::Manifest;
use mobillm_core::backbone::Pooling;

use crate::setup::{Notes, Setup, free_address, lines, toy_rows};

const PAE: [&str; 3] = [
    "device.selector={type=\"loss-tokens\"}",
    "device.privacy={type=\"prediction-difference\"}",
    "server.side_network={type=\"candle\", architecture={type=\"additive-adapter\", rank=8}}",
];
const MEMORY: &str = "server.store={type=\"memory\"}";
const DISK: &str = "server.store={type=\"disk\"}";

fn pae<'a>(more: &[&'a str]) -> Vec<&'a str> {
    PAE.iter().chain(more).copied().collect()
}

fn losses(folder: &Path) -> Vec<f64> {
    let lines = lines(&folder.join("metrics.jsonl"));
    lines.iter().map(|line| line["loss"].as_f64().unwrap()).collect()
}

fn evaluations(summary: &Summary) -> Vec<mobillm_task::Scores> {
    summary.epochs.iter().map(|epoch| epoch.eval.clone()).collect()
}

#[test]
fn a_cached_epoch_equals_an_uncached_one() {
    let setup = Setup::new();
    let sent_again = setup.run(&PAE, "none").unwrap();
    for (out, store) in [("memory", MEMORY), ("disk", DISK)] {
        let kept = setup.run(&pae(&[store]), out).unwrap();
        assert_eq!(losses(&setup.path(out)), losses(&setup.path("none")));
        assert_eq!(setup.adapter(out), setup.adapter("none"));
        assert_eq!(evaluations(&kept), evaluations(&sent_again));
        assert_eq!(kept.device.samples_forwarded, 48);
        assert_eq!(kept.device.held_out_forwarded, 12);
        for later in &kept.epochs[1..] {
            assert_eq!((later.bytes_up, later.device_seconds), (0, 0.0));
        }
    }
    assert_eq!(sent_again.device.samples_forwarded, 4 * 48);
    // MobiLLM's own parts may be kept too.
    setup.run(&[], "labels").unwrap();
    setup.run(&[DISK], "labels-kept").unwrap();
    assert_eq!(setup.adapter("labels-kept"), setup.adapter("labels"));
}

#[test]
fn an_interrupted_run_with_a_store_ends_bit_equal_too() {
    let setup = Setup::new();
    setup.run(&pae(&[DISK]), "whole").unwrap();
    for (name, store) in [("memory", MEMORY), ("disk", DISK)] {
        for stop_after in [1, 7, 12, 13, 30] {
            let out = format!("{name}-{stop_after}");
            let notes = Notes { stop_after: Some(stop_after), ..Notes::default() };
            let stopped = setup.run_watched(&pae(&[store]), &out, &notes);
            assert!(matches!(stopped, Err(RunError::Stopped)), "{stopped:?}");
            let summary = setup.run(&pae(&[store]), &out).unwrap();
            assert_eq!(setup.adapter(&out), setup.adapter("whole"), "{out}");
            assert_eq!(losses(&setup.path(&out)), losses(&setup.path("whole")));
            // The first epoch was stored when the device had heard of step 13.
            if name == "disk" && stop_after >= 13 {
                assert_eq!(summary.device.samples_forwarded, 48, "{out}");
            }
        }
    }
}

/// For a loss on one token, the other tokens change nothing: per-token adapters never mix them.
#[test]
fn the_loss_token_alone_gives_the_losses_of_all_tokens() {
    let setup = Setup::new();
    let path = setup.path("bundle/manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for pooling in [Pooling::FirstToken, Pooling::LastToken] {
        manifest.model.pooling = pooling;
        manifest.model.bundle = manifest.fingerprint();
        fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
        let runs = ["all", "loss-tokens"].map(|selector| {
            let out = format!("{selector}-{pooling:?}");
            let selector = format!("device.selector={{type=\"{selector}\"}}");
            let summary = setup.run(&[&selector], &out).unwrap();
            (losses(&setup.path(&out)), setup.adapter(&out), evaluations(&summary))
        });
        assert_eq!(runs[0], runs[1], "{pooling:?}");
    }
}

/// Device and server over TCP; the device is whoever calls `device`.
struct TwoEnds<'a> {
    setup: &'a Setup,
    loaded: Loaded,
}

impl<'a> TwoEnds<'a> {
    fn new(setup: &'a Setup, sets: &[&str]) -> Self {
        let transport = format!("link.transport={{type=\"tcp\", address=\"{}\"}}", free_address());
        let sets: Vec<&str> = sets.iter().copied().chain([transport.as_str()]).collect();
        Self { setup, loaded: setup.load(&sets) }
    }

    fn server(&self, notes: &Notes) -> Result<(), RunError> {
        pipeline::server(&self.loaded, &self.setup.path("server"), &notes.watch())
    }

    fn device(&self, notes: &Notes, leave: bool) -> Result<Option<Summary>, RunError> {
        let options = pipeline::RunOptions { leave, ..self.setup.options("device") };
        pipeline::device(&self.loaded, &self.setup.environment, &options, &notes.watch())
    }
}

/// A run that left nothing to go on from is not in the way of another.
#[test]
fn a_server_warns_of_a_run_only_if_its_device_would_be_refused() {
    let setup = Setup::new();
    let ends = TwoEnds::new(&setup, &[DISK]);
    fs::create_dir(setup.path("server")).unwrap();
    let begun = include_str!("../../fixtures/server-v3.json");
    let warnings = |state: &str| {
        fs::write(setup.path("server/server.json"), state).unwrap();
        let notes = Notes::default();
        notes.stop.request();
        assert!(matches!(ends.server(&notes), Err(RunError::Stopped)));
        notes.warnings()
    };
    let of_work = warnings(begun);
    assert_eq!(of_work.len(), 1, "{of_work:?}");
    assert!(of_work[0].ends_with("; until then its device is refused"), "{of_work:?}");
    let without_work = begun.replace("\"checkpoint-12.safetensors\"", "null");
    assert_eq!(warnings(&without_work), Vec::<String>::new());
    std::thread::scope(|scope| {
        let server = scope.spawn(|| ends.server(&Notes::default()));
        ends.device(&Notes::default(), false).unwrap();
        server.join().unwrap().unwrap();
    });
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("waited in vain until {what}");
}

#[test]
fn a_device_leaves_and_comes_back_for_the_result() {
    let setup = Setup::new();
    setup.run(&pae(&[DISK]), "whole").unwrap();
    for store in [MEMORY, DISK] {
        leaves_and_comes_back(&setup, store);
    }
}

fn leaves_and_comes_back(setup: &Setup, store: &str) {
    for folder in ["server", "device"] {
        let _ = fs::remove_dir_all(setup.path(folder));
    }
    let ends = TwoEnds::new(setup, &pae(&[store]));
    let notes = Notes::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| ends.server(&notes));
        assert_eq!(ends.device(&Notes::default(), true).unwrap(), None);
        wait_until("the server is done", || notes.says("every epoch is trained"));
        // To come back no training row goes forward; the held-out rows do.
        let summary = ends.device(&Notes::default(), false).unwrap().unwrap();
        server.join().unwrap().unwrap();
        assert_eq!(summary.device.samples_forwarded, 48);
        assert_eq!(summary.device.held_out_forwarded, 2 * 12);
    });
    assert_eq!(setup.adapter("device"), setup.adapter("whole"));
    assert_eq!(losses(&setup.path("device")), losses(&setup.path("whole")));
}

#[test]
fn a_server_that_is_started_again_goes_on_without_a_device() {
    let setup = Setup::new();
    let sets = pae(&[DISK]);
    setup.run(&sets, "whole").unwrap();
    let ends = TwoEnds::new(&setup, &sets);
    std::thread::scope(|scope| {
        let stop = Stop::default();
        let notes = Notes { stop: stop.clone(), ..Notes::default() };
        let server = scope.spawn(|| {
            let notes = notes;
            ends.server(&notes)
        });
        assert_eq!(ends.device(&Notes::default(), true).unwrap(), None);
        stop.request();
        assert!(matches!(server.join().unwrap(), Err(RunError::Stopped)));
    });
    let notes = Notes::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| ends.server(&notes));
        wait_until("the server is done", || notes.says("every epoch is trained"));
        ends.device(&Notes::default(), false).unwrap().unwrap();
        server.join().unwrap().unwrap();
    });
    assert_eq!(setup.adapter("device"), setup.adapter("whole"));
}

#[test]
fn a_server_that_has_trained_everything_is_sent_nothing_again() {
    let setup = Setup::new();
    let ends = TwoEnds::new(&setup, &pae(&[DISK]));
    let first = Notes::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| ends.server(&first));
        assert_eq!(ends.device(&Notes::default(), true).unwrap(), None);
        wait_until("the server is done", || first.says("every epoch is trained"));
        first.stop.request();
        assert!(matches!(server.join().unwrap(), Err(RunError::Stopped)));
    });
    fs::remove_dir_all(setup.path("server/store")).unwrap();
    let second = Notes::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| ends.server(&second));
        let summary = ends.device(&Notes::default(), false).unwrap().unwrap();
        server.join().unwrap().unwrap();
        assert_eq!(summary.device.samples_forwarded, 48);
    });
}

#[test]
fn a_damaged_sample_is_asked_for_again() {
    let setup = Setup::new();
    let sets = pae(&[DISK]);
    setup.run(&sets, "whole").unwrap();
    let notes = Notes { stop_after: Some(13), ..Notes::default() };
    setup.run_watched(&sets, "run", &notes).unwrap_err();
    let store = setup.path("run/server/store");
    let samples = store.join("samples");
    let mut bytes = fs::read(&samples).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&samples, bytes).unwrap();
    // An epoch comes across it, and the device is asked for it with the next session.
    let mut result = setup.run(&sets, "run");
    if let Err(error) = &result {
        assert!(error.to_string().contains("again"), "{error}");
        result = setup.run(&sets, "run");
    }
    let summary = result.unwrap();
    assert!(summary.device.samples_forwarded > 48, "{summary:?}");
    assert_eq!(setup.adapter("run"), setup.adapter("whole"));
}

#[test]
fn a_store_that_is_too_small_says_so_before_anything_is_computed() {
    let setup = Setup::new();
    fs::write(setup.path("toy.tsv"), toy_rows(1200)).unwrap();
    let sets = ["device.quantizer={type=\"none\"}", "server.store={type=\"memory\", limit_mib=1}"];
    let error = setup.run(&sets, "run").unwrap_err().to_string();
    assert!(error.contains("server.store.limit_mib"), "{error}");
    let state = fs::read_to_string(setup.path("run/state.json")).unwrap();
    assert!(state.contains("\"samples_forwarded\": 0"), "{state}");
}

#[test]
fn to_leave_needs_a_store() {
    let setup = Setup::new();
    let ends = TwoEnds::new(&setup, &[]);
    let error = ends.device(&Notes::default(), true).unwrap_err().to_string();
    assert!(error.contains("server.store.type") && error.contains("`disk`"), "{error}");
}
