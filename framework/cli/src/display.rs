//! Results as tables for people.

use std::fmt::Write;
use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use mobillm::run::summary::Summary;
use mobillm_task::Scores;

/// A table with a header and right-aligned figures.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.to_vec());
    table
}

/// Bytes in a unit that is read at a glance.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// Seconds in a unit that is read at a glance.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    format!("{}:{:02} min", seconds as u64 / 60, seconds as u64 % 60)
}

/// What a finished run has come to.
pub(crate) fn summary(summary: &Summary, positive: Option<&str>) -> String {
    let Summary { eval, device, link, server, .. } = summary;
    let mut table = table(&["", "figure", "value"]);
    let mut row = |part: &str, figure: &str, value: String| {
        let value = Cell::new(value).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(part), Cell::new(figure), value]);
    };
    row("held-out rows", &format!("{} before", eval.metric), format!("{:.4}", eval.before));
    row("", &format!("{} after", eval.metric), format!("{:.4}", eval.after));
    if let Some(f1) = eval.macro_f1 {
        row("", "macro F1", format!("{f1:.4}"));
    }
    if let (Some(f1), Some(label)) = (eval.positive_f1, positive) {
        row("", &format!("F1 of {label}"), format!("{f1:.4}"));
    }
    row("device", "samples forward", device.samples_forwarded.to_string());
    row("", "held-out rows forward", device.held_out_forwarded.to_string());
    row("", "forward passes", seconds(device.forward_seconds));
    row("", "evaluation", seconds(device.eval_seconds));
    if let Some(peak) = device.peak_rss_bytes {
        row("", "peak memory", bytes(peak as f64));
    }
    row("link", "up", bytes(link.bytes_up as f64));
    row("", "up per sample", bytes(link.bytes_up_per_sample));
    row("", "down", bytes(link.bytes_down as f64));
    if let Some(emulated) = &link.emulated {
        row("", "emulated, up", seconds(emulated.up_seconds));
        row("", "emulated, down", seconds(emulated.down_seconds));
    }
    row("server", "steps", server.steps.to_string());
    row("", "training", seconds(server.train_seconds));
    let wall = if link.emulated.is_some() { "wall time, emulation in it" } else { "wall time" };
    row("together", wall, seconds(summary.wall_seconds));
    format!("{}\n{table}", summary.variant)
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
