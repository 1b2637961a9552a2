//! compare.json and report.html on disk.

use std::fs;
use std::path::Path;

use mobillm_report::{Comparison, FORMAT, ReportError};
use serde_json::Value;

use crate::samples::{both, failed};

const VERSION_1: &str = "fixtures/compare-v1.json";

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/compared");
    let mut variants = both(&[3, 1, 2]).variants;
    variants[1].runs.push(failed(4, "a \"reason\"\nof two lines"));
    let empty = Vec::new();
    for variants in [variants, empty] {
        let comparison = Comparison::new(variants, Default::default(), crate::samples::machine());
        comparison.write(&out).unwrap();
        assert!(Comparison::read(&out.join("compare.json")).unwrap() == comparison);
        assert_eq!(fs::read_to_string(out.join("report.html")).unwrap(), comparison.html());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    }
}

#[test]
fn version_1_is_still_read() {
    let comparison = Comparison::read(Path::new(VERSION_1)).unwrap();
    assert_eq!(comparison.format, FORMAT);
    assert_eq!(comparison.variants.len(), 2);
    // What its readers took from it is what this release works out from its runs.
    let written: Value = serde_json::from_slice(&fs::read(VERSION_1).unwrap()).unwrap();
    assert_eq!(written["format"], 1);
    let again = serde_json::to_value(&comparison).unwrap();
    assert_eq!(again["variants"], written["variants"]);
    for figure in ["/metric", "/target", "/variants/1/difference", "/variants/1/seconds_to_target"]
    {
        let figure = format!("/figures{figure}");
        assert!(written.pointer(&figure).is_some_and(|figure| !figure.is_null()), "{figure}");
        assert_eq!(again.pointer(&figure), written.pointer(&figure));
    }
}

#[test]
fn what_is_no_comparison_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compare.json");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        Comparison::read(&path).unwrap_err()
    };
    let later = read(r#"{"format": 2, "all": "else"}"#);
    assert!(matches!(later, ReportError::Format { found: 2, .. }), "{later}");
    assert!(later.to_string().contains("format 2, this release reads up to 1"), "{later}");
    for text in ["", "{", "[]", "{}", r#"{"format": 1}"#] {
        let error = read(text);
        assert!(matches!(error, ReportError::Json { .. }), "{text}: {error}");
        assert!(error.to_string().contains("compare.json: ") && error.to_string().contains("line"));
    }
    let text = fs::read_to_string(VERSION_1).unwrap();
    let error = read(&text.replacen("\"seed\"", "\"sead\"", 1));
    assert!(error.to_string().contains("unknown field `sead`"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = Comparison::read(&path).unwrap_err();
    assert!(error.to_string().starts_with("cannot read "), "{error}");
}

#[test]
fn what_cannot_be_written_leaves_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = both(&[1]).write(&file).unwrap_err();
    assert!(error.to_string().starts_with("cannot make the folder "), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    // A folder where a file should be: it cannot be replaced.
    let out = folder.path().join("out");
    fs::create_dir_all(out.join("report.html")).unwrap();
    let error = both(&[1]).write(&out).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}
