//! Data that cannot be used is refused with its file and line, before anything is trained.

use crate::setup::{Setup, failed};

/// Rows that are well, to stand before and after what is not.
fn rows(extra: &str) -> Vec<u8> {
    let good: String = (0..20)
        .map(|row| {
            format!("a {} tap {row}\t{}\n", ["bad", "good"][row % 2], ["sad", "happy"][row % 2])
        })
        .collect();
    format!("text\tmood\n{good}{extra}").into_bytes()
}

#[test]
fn bad_data_is_refused_with_its_place() {
    let latin_1 = [rows("caf"), b"\xe9\thappy\n".to_vec()].concat();
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "a label of no class",
            rows("a tap\tangry\n"),
            "data.tsv:22: column `mood`: the label `angry`",
        ),
        ("an empty text", rows(" \thappy\n"), "data.tsv:22: column `text`: "),
        ("a row cut short", rows("a tap\n"), "data.tsv:22: expected 2 columns, got 1"),
        (
            "a column too few",
            b"text\tmod\na\tsad\n".to_vec(),
            "data.tsv:1: column `mood` is not there",
        ),
        (
            "a column twice",
            b"text\tmood\tmood\na\tsad\tsad\n".to_vec(),
            "data.tsv:1: column `mood` ",
        ),
        ("latin-1", latin_1, "data.tsv:22: byte 4 of the line is 0xe9"),
        ("no row", b"text\tmood\n".to_vec(), "data.tsv: there is no row in it"),
        (
            "nothing to hold out",
            b"text\tmood\na\tsad\n".to_vec(),
            "data.tsv: 1 distinct text is too",
        ),
        (
            "one class",
            b"text\tmood\na\tsad\nb\tsad\nc\tsad\n".to_vec(),
            "rows have the answer `sad`",
        ),
    ];
    let setup = Setup::new();
    for (case, bytes, place) in cases {
        setup.write("data.tsv", bytes);
        for arguments in [&["check"][..], &["run", "--out", "run"]] {
            let more = ["toy.toml", "--set", "task.train=\"data.tsv\""];
            let error = failed(2, &setup.output(&[arguments, &more].concat()));
            assert!(error.contains("task.train: ") && error.contains(place), "{case}: {error}");
        }
        assert!(!setup.path("run").exists(), "{case}: a run was begun");
    }
}

#[test]
fn a_line_of_jsonl_that_is_none_is_refused_with_its_number() {
    let setup = Setup::new();
    setup.write("data.jsonl", "{\"text\":\"a\",\"mood\":\"sad\"}\n{\"text\":\"b\"\n");
    let error = setup.fails(2, &["check", "toy.toml", "--set", "task.train=\"data.jsonl\""]);
    assert!(error.contains("data.jsonl:2: "), "{error}");
}

#[test]
fn a_byte_order_mark_and_repeated_texts_are_counted_not_refused() {
    let setup = Setup::new();
    let bytes = [b"\xef\xbb\xbf".to_vec(), rows("a bad tap 0\tsad\n")].concat();
    setup.write("data.tsv", bytes);
    let report = setup.succeeds(&["check", "toy.toml", "--set", "task.train=\"data.tsv\""]);
    assert!(report.contains("warning: ") && report.contains("byte order mark"), "{report}");
    assert!(report.contains("repeat an earlier text and are not trained on: 1"), "{report}");
    assert!(report.contains("of 21 rows read, 20 texts are distinct"), "{report}");
}

#[test]
fn rows_longer_than_the_model_takes_are_counted_not_refused() {
    let setup = Setup::new();
    let long = format!("{}\tsad\n", "a bad tap ".repeat(20));
    setup.write("data.tsv", [rows(""), long.into_bytes()].concat());
    let sets = ["--set", "task.train=\"data.tsv\"", "--set", "device.max_tokens=5"];
    let json = setup.json(&[&["check", "toy.toml", "--json"], &sets[..]].concat());
    let truncated = |part: &str| json[part]["truncated"].as_u64().unwrap();
    assert_eq!(truncated("train_tokens") + truncated("held_out_tokens"), 21);
    let output = setup.output(&[&["run", "toy.toml", "--out", "run"], &sets[..]].concat());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("training rows are longer than the model takes and were truncated"));
}
