//! `mobillm predict` and `mobillm eval`: what can be done with a run folder.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::setup::{Setup, failed, succeeded};

/// The label and the text of each line that `predict` prints; probabilities must be some.
fn answers(stdout: &str) -> Vec<(String, String)> {
    let answer = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [label, probability, text] = fields[..] else { panic!("not an answer: {line}") };
        let probability: f64 = probability.parse().unwrap();
        assert!((0.5..=1.0).contains(&probability), "of two labels the more probable: {line}");
        (label.to_owned(), text.to_owned())
    };
    stdout.lines().map(answer).collect()
}

/// Runs `mobillm` with `input` on stdin.
pub fn with_input(setup: &Setup, arguments: &[&str], input: &[u8]) -> std::process::Output {
    let mut command = setup.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn texts_are_answered_in_their_order() {
    let setup = Setup::trained();
    let one = setup.succeeds(&["predict", "run", "the good tap"]);
    assert_eq!(answers(&one), [("happy".to_owned(), "the good tap".to_owned())]);
    let texts = ["bad layer out", "the good tap", "a bad tap gets out early"];
    let expected = ["sad", "happy", "sad"];
    let several = setup.succeeds(&[&["predict", "run"], &texts[..]].concat());
    let expected: Vec<_> = expected
        .iter()
        .zip(texts)
        .map(|(label, text)| (label.to_string(), text.to_owned()))
        .collect();
    assert_eq!(answers(&several), expected);
    let lines = texts.join("\n");
    assert_eq!(succeeded(&with_input(&setup, &["predict", "run"], lines.as_bytes())), several);
    // More lines than are answered together.
    let many = "the good tap\n".repeat(600);
    let many = succeeded(&with_input(&setup, &["predict", "run"], many.as_bytes()));
    assert!(many.lines().count() == 600 && many.lines().all(|line| line.starts_with("happy\t")));
    assert_eq!(succeeded(&with_input(&setup, &["predict", "run"], b"")), "");
}

#[test]
fn the_json_of_answers_is_one_a_line() {
    let setup = Setup::trained();
    let stdout = setup.succeeds(&["predict", "run", "the good tap", "bad layer out", "--json"]);
    let answers: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0]["label"], "happy");
    assert_eq!(answers[1]["label"], "sad");
    for answer in answers {
        let probabilities = answer["probabilities"].as_object().unwrap();
        let names: Vec<_> = probabilities.keys().collect();
        assert_eq!(names, ["sad", "happy"], "the order of the labels");
        let sum: f64 = probabilities.values().map(|share| share.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{answer}");
        assert_eq!(answer["truncated"], 0);
    }
}

#[test]
fn a_text_that_is_too_long_is_answered_with_a_warning() {
    let setup = Setup::trained();
    let long = "good tap ".repeat(40);
    let output = setup.output(&["predict", "run", "a tap", &long]);
    assert!(succeeded(&output).contains("happy\t"));
    // 80 words, of which 30 fit between the marks of the model's 32 tokens.
    let warning = "warning: 50 tokens of text 2 did not fit the model and were cut off\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), warning);
    let quiet = setup.output(&["predict", "run", &long, "--quiet"]);
    assert_eq!((succeeded(&quiet).is_empty(), quiet.stderr), (false, Vec::new()));
    let answer = setup.json(&["predict", "run", &long, "--json"]);
    assert_eq!(answer["truncated"], 50);
}

#[test]
fn what_is_no_text_is_refused_with_its_line() {
    let setup = Setup::trained();
    let output = with_input(&setup, &["predict", "run"], b"a good tap\nb\xe4d\n");
    let error = failed(1, &output);
    assert!(error.starts_with("error: stdin:2: ") && error.contains("UTF-8"), "{error}");
}

#[test]
fn a_second_text_is_refused_where_there_are_no_pairs() {
    let setup = Setup::new();
    setup.succeeds(&["run", "toy.toml", "--out", "run", "--set", "training.epochs=1"]);
    let error = setup.fails(1, &["predict", "run", "a tap", "--pair", "another"]);
    assert!(error.contains("trained on single texts; leave --pair out"), "{error}");
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let setup = Setup::new();
    for folder in ["nothing", "bundle"] {
        for arguments in [["predict", folder, "a tap"], ["eval", folder, "toy.tsv"]] {
            let error = setup.fails(1, &arguments);
            let expected = format!("error: run folder {folder}: no adapter.safetensors");
            assert!(error.starts_with(&expected), "{error}");
            assert!(error.contains("`mobillm run CONFIG --out FOLDER`"), "{error}");
        }
    }
}

#[test]
fn a_run_answers_from_wherever_it_is_asked() {
    let setup = Setup::trained();
    let expected = setup.succeeds(&["predict", "run", "the good tap"]);
    // The run knows its model by an absolute path, so the folder may move and the caller too.
    fs::rename(setup.path("run"), setup.path("moved")).unwrap();
    let mut command = setup.command(&["predict", "../moved", "the good tap"]);
    command.current_dir(setup.path("bundle"));
    assert_eq!(succeeded(&command.output().unwrap()), expected);
}

#[test]
fn pairs_are_trained_on_and_answered() {
    let setup = Setup::new();
    let rows = fs::read_to_string(setup.path("toy.tsv")).unwrap();
    let row = |line: &str| {
        let (text, mood) = line.split_once('\t').unwrap();
        let (first, second) = text.split_once(' ').unwrap();
        json!({ "first": first, "second": second, "mood": mood }).to_string() + "\n"
    };
    setup.write("pairs.jsonl", rows.lines().skip(1).map(row).collect::<String>());
    let columns = "task.columns={text=\"first\", pair=\"second\", label=\"mood\"}";
    setup.learns(&["task.train=\"pairs.jsonl\"", columns]);
    let happy = |second: &str| {
        let answer = setup.json(&["predict", "run", "the", "--pair", second, "--json"]);
        answer["probabilities"]["happy"].as_f64().unwrap()
    };
    let (good, bad) = (happy("good tap"), happy("bad tap"));
    assert!(good > bad, "the second text counts: {good} {bad}");
    let error = setup.fails(1, &["predict", "run", "the"]);
    assert!(
        error.contains("trained on pairs of texts; give the second one with --pair"),
        "{error}"
    );
    let scores = setup.json(&["eval", "run", "pairs.jsonl", "--json"]);
    assert_eq!(scores["samples"], 60, "{scores}");
    assert!(scores["accuracy"].as_f64() > Some(0.7), "{scores}");
}

#[test]
fn a_labelled_file_is_scored() {
    let setup = Setup::trained();
    let table = setup.succeeds(&["eval", "run", "toy.tsv"]);
    assert!(table.starts_with("60 rows: accuracy "), "{table}");
    assert!(table.contains("sad") && table.contains("happy"), "{table}");
    let scores = setup.json(&["eval", "run", "toy.tsv", "--json"]);
    assert_eq!(scores["kind"], "classification");
    assert_eq!(scores["samples"], 60, "{scores}");
    assert!(scores["accuracy"].as_f64() > Some(0.8), "{scores}");
    // Another format, with its columns in another order.
    setup.write("more.csv", "mood,text\nhappy,the good tap\nsad,bad layer out\n");
    assert!(setup.succeeds(&["eval", "run", "more.csv"]).starts_with("2 rows: accuracy 1.0000"));
}

#[test]
fn a_file_that_cannot_be_scored_is_refused_with_its_lines() {
    let setup = Setup::trained();
    setup.write("wrong.tsv", "text\tmood\nthe good tap\thappy\na tap\tangry\n\tsad\n");
    let error = setup.fails(1, &["eval", "run", "wrong.tsv"]);
    for line in ["wrong.tsv:3: column `mood`: the label `angry`", "wrong.tsv:4: column `text`"] {
        assert!(error.contains(line), "{line:?} is not in:\n{error}");
    }
    let error = setup.fails(1, &["eval", "run", "nowhere.tsv"]);
    assert!(error.starts_with("error: nowhere.tsv: No such file"), "{error}");
}
