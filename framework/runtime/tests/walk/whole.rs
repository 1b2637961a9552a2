//! Runs from start to end, in one process and in two ends that only share a socket.

use std::fs;

use mobillm::pipeline;
use mobillm::progress::Unobserved;
use mobillm::progress::Watch;
use mobillm::trained::{Answer, Trained};
use mobillm::{RunError, Stop};

use crate::setup::{Notes, Setup, free_address, lines};

#[test]
fn a_run_learns_and_leaves_a_folder_that_predicts() {
    let setup = Setup::new();
    let summary = setup.run(&[], "run").unwrap();
    assert_eq!((summary.format, summary.variant.as_str()), (2, "toy"));
    assert!(summary.eval.after > summary.eval.before, "{summary:?}");
    assert!(summary.eval.positive_f1.is_some() && summary.eval.macro_f1.is_some());
    assert_eq!(summary.epochs.len(), 4);
    assert!(summary.epochs[3].train_loss < summary.epochs[0].train_loss);
    let steps = 48usize.div_ceil(4) * 4;
    assert_eq!(summary.server.steps, steps as u64);
    assert_eq!(summary.device.samples_forwarded, 48 * 4);
    assert_eq!(summary.device.peak_rss_bytes, None);
    assert_eq!(lines(&setup.path("run/metrics.jsonl")).len(), steps);
    let names: Vec<String> = fs::read_dir(setup.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("events.out.tfevents.")), "{names:?}");

    let mut trained = Trained::open(&setup.path("run"), &setup.environment).unwrap();
    let answers = trained.answer(&[("the good tap", None), ("bad layer out", None)]).unwrap();
    let labels: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Label { label, .. } => label.as_str(),
            Answer::Value { .. } => panic!("expected a label"),
        })
        .collect();
    assert_eq!(labels, ["happy", "sad"]);
    let watch = Watch { observer: &Unobserved, stop: Stop::default() };
    let scores = trained.evaluate(&setup.path("toy.tsv"), &watch).unwrap();
    assert!(scores.main().1 > summary.eval.before, "{scores:?}");
}

#[test]
fn equal_seeds_give_equal_adapters_and_other_seeds_others() {
    let setup = Setup::new();
    setup.run(&[], "a").unwrap();
    setup.run(&[], "b").unwrap();
    setup.run(&["training.seed=1"], "c").unwrap();
    assert_eq!(setup.adapter("a"), setup.adapter("b"));
    assert_ne!(setup.adapter("a"), setup.adapter("c"));
}

#[test]
fn every_quantizer_and_selection_runs() {
    let setup = Setup::new();
    let mut sizes = Vec::new();
    for quantizer in ["none", "fp16", "int8", "nf4", "fp4"] {
        let set = format!("device.quantizer={{type=\"{quantizer}\"}}");
        sizes.push(setup.run(&[&set], quantizer).unwrap().link.bytes_up);
    }
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2] && sizes[2] > sizes[3], "{sizes:?}");
    let nth = setup.run(&["device.selector={type=\"every-nth-layer\", n=2}"], "nth").unwrap();
    assert!(nth.link.bytes_up < sizes[3], "{} {sizes:?}", nth.link.bytes_up);
}

#[test]
fn three_classes_pairs_and_regressions_run() {
    let setup = Setup::new();
    let words = ["good", "bad", "free"];
    let mut data = String::from("first\tsecond\tlabel\tscore\n");
    for row in 0..60 {
        let (word, filler) = (words[row % 3], ["tap", "layer"][row % 2]);
        data += &format!("{filler} {row}\t{word} {row}\t{word}\t{}.5\n", row % 3);
    }
    fs::write(setup.path("toy.tsv"), data).unwrap();
    let pairs = "task.columns={text=\"first\", pair=\"second\", label=\"label\"}";
    let labels = "task.labels=[\"good\", \"bad\", \"free\"]";
    let sets = [pairs, labels, "task.positive=\"free\"", "training.epochs=8"];
    let summary = setup.run(&sets, "classes").unwrap();
    assert!(summary.eval.after > 0.6, "{summary:?}");

    let mut config = setup.config_text();
    config = config.replace("labels = [\"sad\", \"happy\"]", "range = [0.5, 2.5]");
    config = config.replace("positive = \"happy\"", "kind = \"regression\"");
    let column = "task.columns={text=\"second\", label=\"score\"}";
    let loaded = setup.load_text(&config, &[column, "training.epochs=8"]);
    let watch = Notes::default();
    let options = setup.options("regression");
    let summary = pipeline::run(&loaded, &setup.environment, &options, &watch.watch()).unwrap();
    assert_eq!((summary.eval.metric.as_str(), summary.eval.macro_f1), ("pearson", None));
    assert!(summary.eval.after > 0.6, "{summary:?}");
    let mut trained = Trained::open(&setup.path("regression"), &setup.environment).unwrap();
    let answers = trained.answer(&[("free 1", None), ("good 1", None)]).unwrap();
    let values: Vec<f64> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Value { value, .. } => *value,
            Answer::Label { .. } => panic!("expected a value"),
        })
        .collect();
    assert!(values[0] > values[1] && values.iter().all(|value| (0.0..3.0).contains(value)));
}

#[test]
fn two_ends_over_tcp_train_the_same_adapter() {
    let setup = Setup::new();
    setup.run(&[], "one").unwrap();
    let address = free_address();
    let transport = format!("link.transport={{type=\"tcp\", address=\"{address}\"}}");
    let summary = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let loaded = setup.load(&[&transport]);
            pipeline::server(&loaded, &setup.path("server"), &Notes::default().watch())
        });
        let (loaded, options) = (setup.load(&[&transport]), setup.options("two"));
        let watch = Notes::default();
        let summary =
            pipeline::device(&loaded, &setup.environment, &options, &watch.watch()).unwrap();
        server.join().unwrap().unwrap();
        summary.unwrap()
    });
    assert_eq!(setup.adapter("one"), setup.adapter("two"));
    assert!(summary.device.peak_rss_bytes.is_some());
}

#[test]
fn two_ends_of_other_configs_refuse_each_other() {
    let setup = Setup::new();
    let address = free_address();
    let transport = format!("link.transport={{type=\"tcp\", address=\"{address}\"}}");
    let notes = Notes::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let loaded = setup.load(&[&transport, "training.batch=2"]);
            pipeline::server(&loaded, &setup.path("server"), &notes.watch())
        });
        let (loaded, options) = (setup.load(&[&transport]), setup.options("device"));
        let watch = Notes::default();
        let error = pipeline::device(&loaded, &setup.environment, &options, &watch.watch());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("must be the same in both configs"), "{message}");
        notes.stop.request();
        assert!(matches!(server.join().unwrap(), Err(RunError::Stopped)));
    });
    assert!(notes.warnings()[0].contains("waiting for a device"), "{:?}", notes.warnings());
}

#[test]
fn an_in_memory_transport_is_refused_between_processes() {
    let setup = Setup::new();
    let watch = Notes::default();
    let error = pipeline::server(&setup.load(&[]), &setup.path("s"), &watch.watch()).unwrap_err();
    assert!(error.to_string().contains("joins two threads of one process"), "{error}");
}
