//! Files to a training part and a held-out part.
//!
//! Each text is trained on once: a row whose text (the two texts of a pair together) was there before
//! is left out and counted, and its answer is that of the first. Without a held-out file a seeded
//! share of the distinct texts is held out, so no text is ever in both parts. A held-out file is
//! kept whole, duplicates included, because its score is compared with those of others.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::sample::Truth;
use sha2::{Digest, Sha256};

use crate::config::TaskConfig;
use crate::error::DataError;
use crate::permutation::permutation;
use crate::report::{DataReport, PartReport};
pub use crate::row_file::{RowFile, load_rows};
use crate::rows::Row;

/// The data of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Rows to train on, in the order of their file, each text once.
    pub train: Vec<Row>,
    /// Rows to evaluate on, in the order of their file.
    pub held_out: Vec<Row>,
    /// The file that `train` is of.
    pub train_path: PathBuf,
    /// The file that `held_out` is of: the same, if a share of it is held out.
    pub held_out_path: PathBuf,
    /// What was found.
    pub report: DataReport,
    /// Names the rows of both parts and their order: a run only goes on with equal data.
    pub fingerprint: Fingerprint,
}

/// Reads the rows of `train` and splits them, or takes those of `held_out`.
///
/// # Errors
/// If a file cannot be read or a row cannot be used, or as [`of_files`].
pub fn load(
    config: &TaskConfig,
    train: &Path,
    held_out: Option<&Path>,
) -> Result<Dataset, DataError> {
    let train = load_rows(config, train)?;
    let held_out = held_out.map(|path| load_rows(config, path)).transpose()?;
    of_files(config, train, held_out)
}

/// Splits the rows of `train`, or takes those of `held_out`.
///
/// # Errors
/// If a part would be empty, or if all training rows have the same answer.
pub fn of_files(
    config: &TaskConfig,
    train: RowFile,
    held_out: Option<RowFile>,
) -> Result<Dataset, DataError> {
    let RowFile { path, rows, report: train_file } = train;
    let distinct = first_of_each_text(rows);
    let (mut train_rows, held_out_rows, held_out_path, held_out_file) = match held_out {
        Some(file) => (distinct, file.rows, Some(file.path), Some(file.report)),
        None => {
            let (train, held_out) = split(config, &path, distinct)?;
            (train, held_out, None, None)
        }
    };
    train_rows.truncate(config.limit.unwrap_or(usize::MAX));

    let train_part = PartReport::new(config, &train_rows);
    if let (true, Some(first)) = (train_part.balance.is_constant(), train_rows.first()) {
        let answer = answer(config, first.truth);
        return Err(DataError::OneAnswer { path, rows: train_rows.len(), answer });
    }
    let mut report = DataReport {
        train_file,
        held_out_file,
        train: train_part,
        held_out: PartReport::new(config, &held_out_rows),
        leaked: leaked(&train_rows, &held_out_rows),
        warnings: Vec::new(),
    };
    report.warn(&path, held_out_path.as_deref());
    let fingerprint = fingerprint([&train_rows, &held_out_rows]);
    Ok(Dataset {
        train: train_rows,
        held_out: held_out_rows,
        held_out_path: held_out_path.unwrap_or_else(|| path.clone()),
        train_path: path,
        report,
        fingerprint,
    })
}

fn first_of_each_text(rows: Vec<Row>) -> Vec<Row> {
    let is_first: Vec<bool> = {
        let mut seen = HashSet::new();
        rows.iter().map(|row| seen.insert(row.key())).collect()
    };
    rows.into_iter().zip(is_first).filter_map(|(row, is_first)| is_first.then_some(row)).collect()
}

/// Holds a share of `rows`, whose texts are distinct, out of training. Both parts keep their order.
fn split(
    config: &TaskConfig,
    path: &Path,
    rows: Vec<Row>,
) -> Result<(Vec<Row>, Vec<Row>), DataError> {
    let texts = rows.len();
    if texts < 2 {
        return Err(DataError::Split { path: path.into(), texts });
    }
    let share = (texts as f64 * config.held_out_share).round() as usize;
    let mut is_held_out = vec![false; texts];
    let order = permutation(b"mobillm held-out", config.split_seed, 0, texts);
    for &row in &order[..share.clamp(1, texts - 1)] {
        is_held_out[row] = true;
    }
    let mut parts = (Vec::new(), Vec::new());
    for (row, is_held_out) in rows.into_iter().zip(is_held_out) {
        if is_held_out { parts.1.push(row) } else { parts.0.push(row) }
    }
    Ok(parts)
}

fn leaked(train: &[Row], held_out: &[Row]) -> usize {
    let known: HashSet<_> = train.iter().map(Row::key).collect();
    held_out.iter().filter(|row| known.contains(&row.key())).count()
}

fn answer(config: &TaskConfig, truth: Truth) -> String {
    match truth {
        Truth::Class(class) => format!("`{}`", config.labels[class as usize]),
        // As f32, like the target: 2, not the 2.0000000298 that scaling made of it.
        Truth::Value(value) => (config.unscale(value) as f32).to_string(),
    }
}

fn fingerprint(parts: [&[Row]; 2]) -> Fingerprint {
    let mut digest = Sha256::new();
    let text = |digest: &mut Sha256, text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    for rows in parts {
        digest.update((rows.len() as u64).to_le_bytes());
        for row in rows {
            text(&mut digest, &row.text);
            digest.update([u8::from(row.pair.is_some())]);
            text(&mut digest, row.pair.as_deref().unwrap_or_default());
            match row.truth {
                Truth::Class(class) => digest.update(class.to_le_bytes()),
                Truth::Value(value) => digest.update(value.to_le_bytes()),
            }
        }
    }
    Fingerprint(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;
    use crate::error::LISTED_PROBLEMS;
    use crate::fixtures::{Scratch, classification, regression};
    use crate::report::{Balance, FileReport};
    use proptest::prelude::*;

    /// A CSV file of `count` distinct texts, every third of them spam.
    fn messages(count: usize) -> String {
        let label = |index| if index % 3 == 0 { "spam" } else { "ham" };
        let rows = (0..count).map(|index| format!("text {index},{}\n", label(index)));
        std::iter::once("text,label\n".to_owned()).chain(rows).collect()
    }

    fn message(result: Result<Dataset, DataError>, folder: &Scratch) -> String {
        let folder = format!("{}/", folder.path().display());
        result.unwrap_err().to_string().replace(&folder, "")
    }

    fn load_text(
        config: &TaskConfig,
        name: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Result<Dataset, String> {
        let folder = Scratch::new();
        let path = folder.write(name, bytes);
        match load(config, &path, None) {
            Ok(dataset) => Ok(dataset),
            error => Err(message(error, &folder)),
        }
    }

    #[test]
    fn the_share_of_distinct_texts_is_held_out() {
        let data = load_text(&classification(), "a.csv", messages(50)).unwrap();
        assert_eq!((data.train.len(), data.held_out.len()), (40, 10));
        for part in [&data.train, &data.held_out] {
            assert!(part.is_sorted_by_key(|row| row.place), "the order of the file is kept");
        }
        assert_eq!(data.report.warnings, [""; 0]);
    }

    #[test]
    fn the_split_is_a_function_of_its_seed() {
        let folder = Scratch::new();
        let path = folder.write("a.csv", messages(50));
        let load =
            |split_seed| load(&TaskConfig { split_seed, ..classification() }, &path, None).unwrap();
        assert_eq!(load(1), load(1));
        assert_ne!(load(1).held_out, load(2).held_out);
        assert_ne!(load(1).fingerprint, load(2).fingerprint);
    }

    #[test]
    fn a_limit_leaves_the_held_out_rows_alone() {
        let whole = load_text(&classification(), "a.csv", messages(50)).unwrap();
        let config = TaskConfig { limit: Some(7), ..classification() };
        let limited = load_text(&config, "a.csv", messages(50)).unwrap();
        assert_eq!(limited.train, whole.train[..7]);
        assert_eq!(limited.held_out, whole.held_out);
        assert_ne!(limited.fingerprint, whole.fingerprint);
    }

    #[test]
    fn a_repeated_text_is_used_once_and_counted() {
        let text = messages(10) + "text 0,spam\ntext 1,spam\ntext 1,ham\n";
        let data = load_text(&classification(), "a.csv", text).unwrap();
        let FileReport { rows, distinct, duplicates, conflicting, .. } = data.report.train_file;
        assert_eq!((rows, distinct, duplicates, conflicting), (13, 10, 3, 1));
        assert_eq!(data.train.len() + data.held_out.len(), 10);
        let kept = data.train.iter().chain(&data.held_out).find(|row| row.text == "text 1");
        assert_eq!(kept.unwrap().truth, Truth::Class(0), "the first answer counts");
        let warnings = &data.report.warnings;
        assert!(warnings[0].ends_with("a.csv: texts with more than one answer: 1"));
        assert_eq!(warnings[1], "rows that repeat an earlier text and are not trained on: 3");
    }

    #[test]
    fn a_pair_is_one_text() {
        let rows = "text,pair,label\na,b,1\na,c,2\nb,a,3\na,b,4\n";
        let data = load_text(&regression(), "a.csv", rows).unwrap();
        assert_eq!(data.report.train_file.distinct, 3);
    }

    #[test]
    fn a_held_out_file_is_kept_whole_and_leaks_are_counted() {
        let folder = Scratch::new();
        let train = folder.write("train.csv", messages(9));
        let held_out =
            "{\"text\":\"new\",\"label\":\"ham\"}\n{\"text\":\"text 3\",\"label\":\"ham\"}\n";
        let held_out = folder.write("held.jsonl", held_out.repeat(2));
        let data = load(&classification(), &train, Some(&held_out)).unwrap();
        assert_eq!((data.train.len(), data.held_out.len(), data.report.leaked), (9, 4, 2));
        assert_eq!(data.report.held_out_file.unwrap().duplicates, 2);
        let warnings = &data.report.warnings;
        assert!(warnings[0].starts_with("2 of 4 held-out rows have a text"), "{warnings:?}");
        assert_eq!(warnings[1], "no held-out row has the label `spam`");
    }

    #[test]
    fn the_balance_is_in_the_order_of_the_config() {
        let data = load_text(&classification(), "a.csv", messages(30)).unwrap();
        let Balance::Labels(counts) = &data.report.train.balance else { panic!() };
        assert_eq!(counts[0].label, "ham");
        assert_eq!(counts[0].rows + counts[1].rows, 24);
        let rows: String = (0..40).map(|index| format!("a{index},b,{}\n", index % 6)).collect();
        let data = load_text(&regression(), "a.csv", format!("text,pair,label\n{rows}")).unwrap();
        let Balance::Targets { smallest, mean, largest } = data.report.train.balance else {
            panic!()
        };
        assert_eq!((smallest, largest), (0.0, 5.0));
        assert!((1.5..3.5).contains(&mean), "{mean}");
    }

    #[test]
    fn a_byte_order_mark_is_left_out_and_told() {
        let data =
            load_text(&classification(), "a.csv", format!("\u{feff}{}", messages(9))).unwrap();
        assert!(data.report.warnings[0].contains("byte order mark"));
    }

    #[test]
    fn bad_rows_are_listed_with_their_lines() {
        let config = classification();
        let error = load_text(&config, "a.tsv", "label\ttext\nham\t\nmaybe\tx\nham\n").unwrap_err();
        let expected = "a.tsv:2: column `text`: the text is empty\n\
             a.tsv:3: column `label`: the label `maybe` is not in `task.labels`; expected one of \
             `ham`, `spam`\n\
             a.tsv:4: expected 2 columns, got 1";
        assert_eq!(error, expected);
        let error = load_text(&config, "a.jsonl", "nothing\n".repeat(25)).unwrap_err();
        assert_eq!(error.lines().count(), LISTED_PROBLEMS + 1);
        assert!(error.ends_with("a.jsonl: and 15 more"), "{error}");
    }

    #[test]
    fn files_that_hold_nothing_to_learn_are_refused() {
        let config = classification();
        for text in ["", "\n", "text,label\n"] {
            assert_eq!(
                load_text(&config, "a.csv", text).unwrap_err(),
                "a.csv: there is no row in it"
            );
        }
        let one = load_text(&config, "a.csv", "text,label\na,ham\na,ham\n").unwrap_err();
        assert!(one.starts_with("a.csv: 1 distinct text is too little"), "{one}");
        let same = load_text(&config, "a.csv", "text,label\na,ham\nb,ham\nc,ham\n").unwrap_err();
        assert!(same.starts_with("a.csv: all 2 training rows have the answer `ham`;"), "{same}");
        let same = "text,pair,label\na,b,2\nc,d,2\n";
        let same = load_text(&regression(), "a.csv", same).unwrap_err();
        assert!(same.contains("have the answer 2;"), "{same}");
    }

    #[test]
    fn files_that_are_no_data_are_refused() {
        let config = classification();
        let folder = Scratch::new();
        let missing = load(&config, &folder.path().join("none.csv"), None);
        assert!(message(missing, &folder).starts_with("none.csv: No such file"));
        let error = load_text(&config, "a.xlsx", "").unwrap_err();
        assert!(error.contains("does not end in .jsonl"), "{error}");
        let error = load_text(&config, "a.csv", b"text,label\n\xe9t\xe9,ham\n").unwrap_err();
        assert!(error.starts_with("a.csv:2: byte 1 of the line is 0xe9"), "{error}");
        let error = load_text(&config, "a.csv", "body,label\nx,ham\n").unwrap_err();
        assert_eq!(error, "a.csv:1: column `text` is not there; the file has `body`, `label`");
    }

    #[test]
    fn a_config_that_contradicts_itself_is_refused_first() {
        let config = TaskConfig { labels: Vec::new(), ..classification() };
        let error = load_text(&config, "a.csv", "").unwrap_err();
        assert!(
            error.starts_with("task.labels: got 0 for a classification; expected at least two"),
            "{error}"
        );
    }

    #[test]
    fn the_config_decides_the_format_before_the_name() {
        let config = TaskConfig { format: Some(Format::Tsv), ..classification() };
        let text = messages(9).replace(',', "\t");
        assert_eq!(load_text(&config, "a.csv", text).unwrap().report.train_file.rows, 9);
    }

    proptest! {
        #[test]
        fn no_text_is_in_both_parts(
            texts in prop::collection::vec(0u8..30, 12..80),
            split_seed: u64,
            share in 0.01f64..0.9,
        ) {
            let rows = texts.iter().zip(0..).map(|(text, index)| {
                format!("text {text},{}\n", if index % 2 == 0 { "ham" } else { "spam" })
            });
            let text: String = std::iter::once("text,label\n".to_owned()).chain(rows).collect();
            let config = TaskConfig { split_seed, held_out_share: share, ..classification() };
            // A part of one class only is refused; this law is about the others.
            let Ok(data) = load_text(&config, "a.csv", text) else { return Ok(()) };
            prop_assert_eq!(leaked(&data.train, &data.held_out), 0);
            let distinct: HashSet<u8> = texts.into_iter().collect();
            prop_assert_eq!(data.train.len() + data.held_out.len(), distinct.len());
            prop_assert!(!data.train.is_empty() && !data.held_out.is_empty());
        }
    }
}
