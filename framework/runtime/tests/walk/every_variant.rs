//! The wire of every variant that the library's parts can be put together to.

use std::fs;

use bytes::Bytes;
use mobillm::assembly::Assembly;
use mobillm::config::Loaded;
use mobillm::device::Prepared;
use mobillm::egress::Counts;
use mobillm::pipeline::{prepare, run};
use mobillm_bundle::Manifest;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::Pooling;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::sample::Truth;
use mobillm_wire::frame::Frame;

use crate::setup::{Notes, Setup, toy_rows};
use crate::tap_wire::{CAPTURE, CaptureConfig, assert_private, captured, holds};

const EPOCHS: u64 = 2;

const ADDITIVE: &str =
    "server.side_network={type=\"candle\", architecture={type=\"additive-adapter\", rank=2}}";
const DIFFERENCE: &str = "device.privacy={type=\"prediction-difference\"}";

/// What each policy needs, and what it may tell.
const POLICIES: [(&[&str], SupervisionKind); 3] = [
    (&["device.privacy={type=\"labels\"}"], SupervisionKind::Truth),
    (
        &["device.privacy={type=\"labels\", own_prediction=true}", ADDITIVE],
        SupervisionKind::TruthAndOwn,
    ),
    (&[DIFFERENCE, ADDITIVE], SupervisionKind::Difference),
];
const LOSS_TOKENS: &str = "device.selector={type=\"loss-tokens\"}";
const SELECTORS: [&str; 3] = [
    "device.selector={type=\"all\"}",
    "device.selector={type=\"every-nth-layer\", n=2}",
    LOSS_TOKENS,
];
const STORES: [&str; 2] = ["server.store={type=\"none\"}", "server.store={type=\"memory\"}"];
const QUANTIZERS: [&str; 2] =
    ["device.quantizer={type=\"nf4\"}", "device.quantizer={type=\"int8\"}"];

/// A model with a head, and a wire on which somebody listens.
fn setup() -> Setup {
    let mut setup = Setup::of(&TinyBert::with_head(2));
    setup.environment.registry.register::<CaptureConfig>("test").unwrap();
    fs::write(setup.path("toy.tsv"), toy_rows(30)).unwrap();
    setup
}

fn load(setup: &Setup, sets: &[&str]) -> Loaded {
    let epochs = format!("training.epochs={EPOCHS}");
    let common = [CAPTURE, "device.backbone.own_outputs=2", &epochs];
    setup.load(&[&common[..], sets].concat())
}

/// A run's device, and everything that it sent.
struct Heard {
    assembly: Assembly,
    prepared: Prepared,
    frames: Vec<Bytes>,
    /// Epochs in which rows went forward.
    epochs: u64,
}

/// Runs `loaded` from its beginning to its end.
fn hear(setup: &Setup, loaded: &Loaded) -> Heard {
    let notes = Notes::default();
    let (environment, watch) = (&setup.environment, notes.watch());
    let options = mobillm::pipeline::RunOptions { fresh: true, ..setup.options("run") };
    let (summary, frames) = captured(|| run(loaded, environment, &options, &watch).unwrap());
    let (assembly, prepared) = prepare(loaded, environment, &watch).unwrap();
    let epochs = if loaded.config.server.store.caches() { 1 } else { EPOCHS };
    let heard = Heard { assembly, prepared, frames, epochs };
    assert_eq!(summary.link.bytes_up, heard.bytes());
    heard
}

impl Heard {
    fn bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.len() as u64).sum()
    }

    /// The rows of each micro-batch, in the order in which they went.
    fn micro_batches(&self) -> Vec<Vec<usize>> {
        let schedule = &self.prepared.schedule;
        let windows = schedule.windows() / EPOCHS * self.epochs;
        (0..windows).flat_map(|window| schedule.window(window).micro_batches).collect()
    }

    fn counts(&self) -> Counts {
        let Self { prepared, assembly, epochs, .. } = self;
        let work = prepared.work(&*assembly.selector);
        Counts {
            micro_batches: self.micro_batches().len() as u64,
            samples: epochs * work.samples,
            rows: epochs * work.rows,
            steps: epochs * work.steps_per_epoch,
        }
    }

    /// What the egress manifest says.
    fn manifest_bytes(&self) -> u64 {
        let Self { prepared, assembly, .. } = self;
        let work = prepared.work(&*assembly.selector);
        assembly.egress_of(work, prepared.schedule.steps()).bytes(&self.counts())
    }

    /// The Supervise frames as they were sent, and what they say.
    fn supervision(&self) -> Vec<(&Bytes, Vec<Supervision>)> {
        let told = self.frames.iter().filter_map(|frame| match Frame::parse(frame.clone()) {
            Ok(Frame::Supervise(supervise)) => Some((frame, supervise.into_supervision())),
            parsed => parsed.map(|_| None).unwrap(),
        });
        told.collect()
    }

    /// The classes of `rows`, each as a number of `WIDTH` bytes.
    fn labels<const WIDTH: usize>(&self, rows: &[usize]) -> Vec<u8> {
        let class = |&row: &usize| match self.prepared.train.truths[row] {
            Truth::Class(class) => class.to_le_bytes().into_iter().take(WIDTH),
            Truth::Value(_) => panic!("a class was expected"),
        };
        rows.iter().flat_map(class).collect()
    }

    /// No frame has the labels of a micro-batch, in any width in which they could be written. Zeros
    /// alone, or one other number among them, stand in every header.
    fn assert_no_labels(&self) {
        let supervision = self.supervision();
        let mut looked_for = 0;
        for rows in self.micro_batches() {
            let bytes = self.labels::<1>(&rows);
            if bytes.iter().sum::<u8>() < 2 {
                continue;
            }
            looked_for += 1;
            for (frame, _) in &supervision {
                assert!(!holds(frame, &bytes), "the labels {bytes:?} are in a Supervise frame");
            }
            let words = self.labels::<4>(&rows);
            for frame in &self.frames {
                assert!(!holds(frame, &words), "the labels {bytes:?} are on the wire");
            }
        }
        assert!(looked_for > 3, "too few micro-batches with labels of both kinds");
    }
}

#[test]
fn every_variants_wire_holds_what_its_manifest_says_and_no_more() {
    let setup = setup();
    for (policy, kind) in POLICIES {
        for selector in SELECTORS {
            for store in STORES {
                for quantizer in QUANTIZERS {
                    let sets = [policy, &[selector, store, quantizer]].concat();
                    let heard = hear(&setup, &load(&setup, &sets));
                    assert_eq!(heard.bytes(), heard.manifest_bytes(), "{sets:?}");
                    assert_private(&heard.frames, &setup, &heard.prepared);
                    let supervision = heard.supervision();
                    assert_eq!(supervision.len(), heard.micro_batches().len());
                    for (_, told) in &supervision {
                        assert!(told.iter().all(|one| one.kind() == kind), "{sets:?}: {told:?}");
                    }
                    if kind == SupervisionKind::Difference {
                        heard.assert_no_labels();
                    }
                }
            }
        }
    }
}

#[test]
fn labels_are_found_where_a_policy_sends_them() {
    let setup = setup();
    let heard = hear(&setup, &load(&setup, POLICIES[0].0));
    for (rows, (frame, _)) in heard.micro_batches().iter().zip(heard.supervision()) {
        assert!(holds(frame, &heard.labels::<4>(rows)));
    }
}

/// Which token of a text is its last would tell its length: it stays on the device.
#[test]
fn the_last_tokens_wire_holds_no_positions() {
    let setup = setup();
    let path = setup.path("bundle/manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest.model.pooling = Pooling::LastToken;
    manifest.model.bundle = manifest.fingerprint();
    fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    let within = "device.selector={type=\"every-nth-layer\", n=3, tokens={type=\"loss-tokens\"}}";
    for selector in [LOSS_TOKENS, within] {
        let heard = hear(&setup, &load(&setup, &[DIFFERENCE, ADDITIVE, selector]));
        assert_eq!(heard.bytes(), heard.manifest_bytes(), "{selector}");
        assert_private(&heard.frames, &setup, &heard.prepared);
    }
}

/// A regression's targets: none is on the wire, though what is left of each is.
#[test]
fn no_target_of_a_regression_is_in_its_differences() {
    let setup = setup();
    let targets: Vec<f32> = (0..30).map(|row| row as f32 / 7.0).collect();
    let rows = targets.iter().enumerate().map(|(row, target)| format!("good {row}\t{target}\n"));
    fs::write(setup.path("toy.tsv"), "text\tmood\n".to_owned() + &rows.collect::<String>())
        .unwrap();
    let config = setup.config_text();
    let config = config.replace("labels = [\"sad\", \"happy\"]", "range = [0.0, 5.0]");
    let config = config.replace("positive = \"happy\"", "kind = \"regression\"");
    let prior = "device.own_prediction=\"prior\"";
    let epochs = format!("training.epochs={EPOCHS}");
    for store in STORES {
        let sets = [CAPTURE, &epochs, DIFFERENCE, ADDITIVE, prior, store];
        let heard = hear(&setup, &setup.load_text(&config, &sets));
        assert_eq!(heard.bytes(), heard.manifest_bytes());
        for (frame, told) in heard.supervision() {
            assert!(told.iter().all(|one| one.kind() == SupervisionKind::Difference), "{told:?}");
            for truth in &heard.prepared.train.truths {
                let Truth::Value(target) = truth else { panic!("a target was expected") };
                // What a target of 0 is made of is in every frame.
                if *target != 0.0 {
                    assert!(!holds(frame, &target.to_le_bytes()), "the target {target}");
                }
            }
        }
    }
}
