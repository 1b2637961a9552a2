//! What cannot work is refused with its place and what to do, and leaves nothing half-written.

use std::fs;

use mobillm::RunError;
use mobillm::trained::Trained;
use mobillm_bundle::fixture::TinyBert;

use crate::setup::{Notes, Setup, toy_rows};

fn message(result: Result<impl std::fmt::Debug, RunError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_nan_in_an_activation_ends_the_run_with_its_place() {
    let setup = Setup::new();
    let error = message(setup.run(&["device.backbone.nan_layer=2"], "run"));
    assert!(error.starts_with("layer 2, row 0: the activation is NaN"), "{error}");
}

#[test]
fn a_run_is_not_gone_on_with_when_its_config_data_or_bundle_changed() {
    let setup = Setup::new();
    let notes = Notes { stop_after: Some(5), ..Notes::default() };
    setup.run_watched(&[], "run", &notes).unwrap_err();
    let error = message(setup.run(&["training.seed=5"], "run"));
    assert!(error.contains("begun with another config; put it back"), "{error}");
    fs::write(setup.path("toy.tsv"), toy_rows(62)).unwrap();
    let error = message(setup.run(&[], "run"));
    assert!(error.contains("begun with other data;"), "{error}");
    fs::write(setup.path("toy.tsv"), toy_rows(60)).unwrap();
    fs::remove_dir_all(setup.path("bundle")).unwrap();
    TinyBert { seed: 2, ..TinyBert::default() }.bundle(&setup.path("bundle")).unwrap();
    let error = message(setup.run(&[], "run"));
    assert!(error.contains("begun with another bundle;"), "{error}");
}

#[test]
fn a_finished_run_is_begun_afresh_only_when_asked() {
    let setup = Setup::new();
    setup.run(&[], "run").unwrap();
    let error = message(setup.run(&[], "run"));
    assert!(error.contains("the run is finished; begin afresh with --fresh"), "{error}");
    let options = mobillm::pipeline::RunOptions { fresh: true, ..setup.options("run") };
    let watch = Notes::default();
    mobillm::pipeline::run(&setup.load(&[]), &setup.environment, &options, &watch.watch()).unwrap();
}

#[test]
fn an_adapter_of_another_bundle_is_refused() {
    let setup = Setup::new();
    setup.run(&[], "run").unwrap();
    fs::remove_dir_all(setup.path("bundle")).unwrap();
    TinyBert { seed: 2, ..TinyBert::default() }.bundle(&setup.path("bundle")).unwrap();
    let error = message(Trained::open(&setup.path("run"), &setup.environment).map(|_| ()));
    let said = "adapter: it was trained with another model or config (bundle: got ";
    assert!(error.starts_with(said), "{error}");
}

#[test]
fn a_folder_without_a_run_says_what_was_expected() {
    let setup = Setup::new();
    let error = message(Trained::open(&setup.path("nothing"), &setup.environment).map(|_| ()));
    assert!(error.contains("no adapter.safetensors"), "{error}");
}

#[test]
fn a_text_longer_than_the_model_takes_is_truncated_counted_and_reported() {
    let setup = Setup::new();
    let notes = Notes::default();
    setup.run_watched(&["device.max_tokens=5", "training.epochs=1"], "run", &notes).unwrap();
    let warnings = notes.warnings();
    let truncated = |part: &str| {
        warnings.iter().any(|warning| warning.contains(part) && warning.ends_with("were truncated"))
    };
    assert!(truncated("training rows") && truncated("held-out rows"), "{warnings:?}");
}

#[test]
fn a_model_that_was_not_pulled_says_how_to() {
    let setup = Setup::new();
    let error = message(setup.run(&["device.bundle=\"pull:minilm\""], "run"));
    let says =
        "device.bundle: the model `pull:minilm` is not on this machine; run `mobillm pull minilm`";
    assert!(error.contains(says), "{error}");
}
