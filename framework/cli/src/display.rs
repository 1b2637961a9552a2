//! Results as tables for people.

use std::fmt::Write;
use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use mobillm_task::Scores;

use crate::commands::{Report, Verdict};

/// A table with a header and right-aligned figures.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.to_vec());
    table
}

/// What to try with a finished run.
pub(crate) fn next_command(out: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "mobillm".to_owned());
    format!("Try it: {program} predict {} \"TEXT\"", out.display())
}

/// Scores on a labelled file.
pub(crate) fn scores(scores: &Scores) -> String {
    let mut text = String::new();
    match scores {
        Scores::Classification(scores) => {
            let _ = writeln!(
                text,
                "{} rows: accuracy {:.4}, macro F1 {:.4}",
                scores.samples, scores.accuracy, scores.macro_f1
            );
            let mut table = table(&["label", "rows", "predicted", "F1"]);
            for label in &scores.labels {
                let f1 = label.f1.map_or("-".to_owned(), |f1| format!("{f1:.4}"));
                table.add_row([
                    label.label.clone(),
                    label.truths.to_string(),
                    label.predictions.to_string(),
                    f1,
                ]);
            }
            let _ = write!(text, "{table}");
        }
        Scores::Regression(scores) => {
            let _ = write!(
                text,
                "{} rows: Pearson {:.4}, Spearman {:.4}, RMSE {:.4}",
                scores.samples, scores.pearson, scores.spearman, scores.rmse
            );
        }
    }
    text
}

/// Columns of a table of laws, and letters of a reason in it: what `--json` has is not cut.
const LAWS_WIDTH: u16 = 110;
const REASON: usize = 400;

/// How a library fares under the laws.
pub(crate) fn laws(report: &Report) -> String {
    let mut text = String::new();
    if let Some(seen) = &report.library {
        let (own, by) = (&seen.manifest, &seen.built_by);
        let _ = writeln!(text, "{} {}, for ABI {}, built by {by}", own.name, own.version, own.abi);
    }
    let mut table = table(&["of", "law", ""]);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(LAWS_WIDTH);
    for row in &report.laws {
        let verdict = match &row.verdict {
            Verdict::Passed => "passed".to_owned(),
            Verdict::Failed(reason) => format!("FAILED: {}", cut(reason)),
            Verdict::Skipped(why) => format!("skipped: {}", cut(why)),
        };
        table.add_row([&row.of, &row.law, &verdict]);
    }
    let _ = write!(text, "{table}");
    text
}

fn cut(reason: &str) -> String {
    match reason.char_indices().nth(REASON) {
        Some((end, _)) => format!("{} ...", &reason[..end]),
        None => reason.to_owned(),
    }
}
