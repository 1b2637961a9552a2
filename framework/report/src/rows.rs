//! The rows of the table, and what each of them means: one list for terminal and HTML.

use crate::comparison::{Comparison, Target};
use crate::figures::VariantFigures;
use crate::statistic::Statistic;
use crate::unit::Unit;

/// A row of the table: one figure of every variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The figure's name.
    pub(crate) label: String,
    /// How it is defined.
    pub(crate) meaning: String,
    /// One for each variant.
    pub(crate) cells: Vec<String>,
}

/// What a cell shows where there is no figure.
const NOTHING: &str = "-";

/// The rows that some variant has a figure for, those that belong together in one group.
pub(crate) fn groups(comparison: &Comparison) -> Vec<Vec<Row>> {
    let variants = &comparison.figures.variants;
    let time = time(variants);
    let groups = [scores(comparison), device(variants), link(variants), target(comparison), time];
    let groups = groups.map(|rows| rows.into_iter().flatten().collect::<Vec<Row>>());
    groups.into_iter().filter(|rows| !rows.is_empty()).collect()
}

/// The row of a figure; `None` if no variant has it.
fn row(
    variants: &[VariantFigures],
    label: impl Into<String>,
    unit: Unit,
    figure: fn(&VariantFigures) -> Option<Statistic>,
    meaning: impl Into<String>,
) -> Option<Row> {
    variants.iter().any(|variant| figure(variant).is_some()).then(|| {
        let cell = |variant: &VariantFigures| {
            let shown = |statistic| unit.show_statistic(&statistic, variant.finished);
            figure(variant).map_or_else(|| NOTHING.to_owned(), shown)
        };
        Row {
            label: label.into(),
            meaning: meaning.into(),
            cells: variants.iter().map(cell).collect(),
        }
    })
}

fn scores(comparison: &Comparison) -> Vec<Option<Row>> {
    let variants = &comparison.figures.variants;
    let metric = comparison.figures.metric.as_deref().unwrap_or("score");
    let seeds = |variant: &VariantFigures| match variant {
        VariantFigures { runs, finished, .. } if runs == finished => runs.to_string(),
        VariantFigures { runs, finished, .. } => format!("{finished} of {runs}"),
    };
    let mut difference = row(
        variants,
        "paired difference, points",
        Unit::Points,
        |variant| variant.difference,
        format!(
            "The {metric} minus that of the first variant with the same seed, so with the same rows in \
             the same order; a point is 0.01. Mean and spread are of these differences."
        ),
    );
    if let Some(row) = &mut difference {
        row.cells[0] = "reference".to_owned();
    }
    vec![
        Some(Row {
            label: "seeds".to_owned(),
            meaning: "Runs that finished and are counted. A figure is their mean; after ± follows \
                      their sample standard deviation, which divides by n - 1; two runs show both \
                      ends instead, and one run has no spread. What is equal to the digits shown \
                      has none either."
                .to_owned(),
            cells: variants.iter().map(seeds).collect(),
        }),
        row(
            variants,
            metric,
            Unit::Score,
            |variant| variant.score,
            "Of the held-out rows, after the last epoch.",
        ),
        difference,
        row(
            variants,
            format!("F1 of {}", positive_label(comparison)),
            Unit::Score,
            |variant| variant.positive_f1,
            "2 hits / (rows with the label + rows predicted to have it), after the last epoch.",
        ),
        row(
            variants,
            "macro F1",
            Unit::Score,
            |variant| variant.macro_f1,
            "Mean of the F1 of all classes, after the last epoch.",
        ),
        row(
            variants,
            format!("{metric} before"),
            Unit::Score,
            |variant| variant.before,
            "Without any training: the backbone's own head; the most frequent class or the mean \
             target of the training rows where it has none.",
        ),
    ]
}

/// The label that the task calls positive.
fn positive_label(comparison: &Comparison) -> &str {
    let mut labels = comparison.variants.iter().filter_map(|variant| {
        let label = variant.config.pointer("/task/positive")?;
        label.as_str()
    });
    labels.next().unwrap_or("the positive label")
}

fn device(variants: &[VariantFigures]) -> Vec<Option<Row>> {
    vec![
        row(
            variants,
            "device peak memory",
            Unit::Bytes,
            |variant| variant.device_peak_bytes,
            "Peak resident memory of the device's process; not there where it shares one with the \
             server.",
        ),
        row(
            variants,
            "device forward",
            Unit::Seconds,
            |variant| variant.device_forward_seconds,
            "Forward passes over training rows with selection, policy and quantization; waiting for \
             the link not included.",
        ),
        row(
            variants,
            "device evaluation",
            Unit::Seconds,
            |variant| variant.device_eval_seconds,
            "The held-out rows' forward passes, and the evaluation of every epoch.",
        ),
        row(
            variants,
            "rows forwarded",
            Unit::Count,
            |variant| variant.samples_forwarded,
            "Training rows that the device ran forward, once for every time it did.",
        ),
        row(
            variants,
            "held-out rows forwarded",
            Unit::Count,
            |variant| variant.held_out_forwarded,
            "The same of held-out rows.",
        ),
    ]
}

fn link(variants: &[VariantFigures]) -> Vec<Option<Row>> {
    let held_back = |from: &str, to: &str| {
        format!(
            "Seconds of the wall time in which the emulated link held back at least one frame from \
             {from} to {to}; the other direction and the computation go on meanwhile."
        )
    };
    vec![
        row(
            variants,
            "bytes up",
            Unit::Bytes,
            |variant| variant.bytes_up,
            "From device to server, frames and the transport's own bytes; 1 kB is 1000 bytes.",
        ),
        row(
            variants,
            "bytes up per row",
            Unit::Bytes,
            |variant| variant.bytes_up_per_sample,
            "Bytes up, divided by the training rows forwarded.",
        ),
        row(
            variants,
            "bytes down",
            Unit::Bytes,
            |variant| variant.bytes_down,
            "From server to device, counted in the same way.",
        ),
        row(
            variants,
            "emulated link up",
            Unit::Seconds,
            |variant| variant.emulated_up_seconds,
            held_back("device", "server"),
        ),
        row(
            variants,
            "emulated link down",
            Unit::Seconds,
            |variant| variant.emulated_down_seconds,
            held_back("server", "device"),
        ),
        row(
            variants,
            "emulated packets lost",
            Unit::Count,
            |variant| variant.lost_packets,
            "Lost and sent again, both ways.",
        ),
    ]
}

fn target(comparison: &Comparison) -> Vec<Option<Row>> {
    let Some(target) = comparison.figures.target else { return Vec::new() };
    let variants = &comparison.figures.variants;
    let metric = comparison.figures.metric.as_deref().unwrap_or("score");
    let reached = |variant: &VariantFigures| match variant.finished {
        0 => NOTHING.to_owned(),
        finished => format!("{} of {finished}", variant.reached),
    };
    // Not `row`: it leaves out what nobody has, and here that is a result.
    let to_target = |label: &str,
                     unit: Unit,
                     figure: fn(&VariantFigures) -> Option<Statistic>,
                     meaning: &str| {
        let cell = |variant: &VariantFigures| match figure(variant) {
            Some(statistic) => unit.show_statistic(&statistic, variant.reached),
            None if variant.finished > 0 => "not reached".to_owned(),
            None => NOTHING.to_owned(),
        };
        let cells = variants.iter().map(cell).collect();
        Some(Row { label: label.to_owned(), meaning: meaning.to_owned(), cells })
    };
    vec![
        Some(Row {
            label: "seeds at the target".to_owned(),
            meaning: format!(
                "Those with {metric} {} or more after some epoch. Only after an epoch is there an \
                 evaluation: what follows is as coarse as that.",
                Unit::Score.show(target)
            ),
            cells: variants.iter().map(reached).collect(),
        }),
        to_target(
            "seconds to target",
            Unit::Seconds,
            |variant| variant.seconds_to_target,
            "Wall time from the first micro-batch to the first evaluation at the target or above, \
             over the seeds that reached it.",
        ),
        to_target(
            "bytes up to target",
            Unit::Bytes,
            |variant| variant.bytes_up_to_target,
            "Bytes up to that evaluation.",
        ),
    ]
}

fn time(variants: &[VariantFigures]) -> Vec<Option<Row>> {
    vec![
        row(
            variants,
            "server training",
            Unit::Seconds,
            |variant| variant.server_seconds,
            "Decoding and training, without waiting.",
        ),
        row(
            variants,
            "wall time",
            Unit::Seconds,
            |variant| variant.wall_seconds,
            "From start to end.",
        ),
    ]
}

/// The target in words.
pub(crate) fn target_in_words(comparison: &Comparison) -> String {
    let metric = comparison.figures.metric.as_deref().unwrap_or("score");
    let origin = match (comparison.target, comparison.variants.first()) {
        (Target::BelowFirst { points }, Some(first)) => {
            format!(": the final mean of {} less {points} points", first.name)
        }
        _ => String::new(),
    };
    match comparison.figures.target {
        Some(target) => format!("{metric} {}{origin}", Unit::Score.show(target)),
        None => format!("none{origin}; no such run has finished"),
    }
}
