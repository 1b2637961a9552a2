//! Every variant over its seeds.

use mobillm::run::summary::Summary;
use serde::Serialize;

use crate::comparison::{Outcome, Target, Variant};
use crate::evaluation::Evaluation;
use crate::statistic::Statistic;

/// What the runs have come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// The main metric's name; `None` if no run has finished.
    pub metric: Option<String>,
    /// The score of the target, as a fraction; `None` if it is relative to the first variant and no
    /// run of that has finished.
    pub target: Option<f64>,
    /// In the order of the variants.
    pub variants: Vec<VariantFigures>,
    /// The runs that count in no figure.
    pub excluded: Vec<Excluded>,
}

/// A run that counts in no figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// Its variant.
    pub variant: String,
    /// Its seed.
    pub seed: u64,
    /// Why.
    pub reason: String,
}

/// One variant over the seeds that finished; `None` what no seed has. Scores are fractions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantFigures {
    /// The variant.
    pub name: String,
    /// Its runs.
    pub runs: usize,
    /// Those of them that finished and count.
    pub finished: usize,
    /// The main metric after the last epoch.
    pub score: Option<Statistic>,
    /// `score` minus the first variant's of the same seed; `None` for the first variant.
    pub difference: Option<Statistic>,
    /// F1 of the task's positive label after the last epoch.
    pub positive_f1: Option<Statistic>,
    /// Mean of the F1 of all classes after the last epoch.
    pub macro_f1: Option<Statistic>,
    /// The main metric without any training.
    pub before: Option<Statistic>,
    /// Peak resident memory of the device's process.
    pub device_peak_bytes: Option<Statistic>,
    /// The device's forward passes over training rows.
    pub device_forward_seconds: Option<Statistic>,
    /// The held-out rows' forward passes and the evaluation of every epoch, on the device.
    pub device_eval_seconds: Option<Statistic>,
    /// Training rows run forward, once per pass.
    pub samples_forwarded: Option<Statistic>,
    /// Held-out rows run forward.
    pub held_out_forwarded: Option<Statistic>,
    /// From device to server.
    pub bytes_up: Option<Statistic>,
    /// From server to device.
    pub bytes_down: Option<Statistic>,
    /// Bytes up, per training row run forward.
    pub bytes_up_per_sample: Option<Statistic>,
    /// Seconds in which the emulated link held back a frame to the server.
    pub emulated_up_seconds: Option<Statistic>,
    /// The same, to the device.
    pub emulated_down_seconds: Option<Statistic>,
    /// Packets that the emulated link lost.
    pub lost_packets: Option<Statistic>,
    /// Seeds that reached the target.
    pub reached: usize,
    /// Wall time to the first evaluation at the target or above, over the seeds that reached it.
    pub seconds_to_target: Option<Statistic>,
    /// Bytes up to that evaluation.
    pub bytes_up_to_target: Option<Statistic>,
    /// The server's decoding and training.
    pub server_seconds: Option<Statistic>,
    /// From start to end.
    pub wall_seconds: Option<Statistic>,
}

/// The run of one seed that counts.
type Counted<'a> = (u64, &'a Summary);

impl Figures {
    /// The figures of `variants`, whose runs are in the order of their seeds.
    pub(crate) fn of(variants: &[Variant], target: Target) -> Self {
        let metric = variants.iter().flat_map(finished).map(|(_, run)| &run.eval.metric).next();
        let counted: Vec<Vec<Counted<'_>>> =
            variants.iter().map(|variant| counted(variant, metric).collect()).collect();
        let first = counted.first().map_or(&[][..], |runs| runs);
        let target = match target {
            Target::Value(value) => Some(value),
            Target::BelowFirst { points } => {
                let scores = first.iter().map(|(_, run)| run.eval.after);
                Statistic::of(scores).map(|score| score.mean - points / 100.0)
            }
        };
        let figures = |(index, variant): (usize, &Variant)| {
            let reference = (index > 0).then_some(first);
            VariantFigures::of(variant, &counted[index], reference, target)
        };
        Self {
            metric: metric.cloned(),
            target,
            variants: variants.iter().enumerate().map(figures).collect(),
            excluded: variants.iter().flat_map(|variant| excluded(variant, metric)).collect(),
        }
    }
}

/// The runs of `variant` that finished.
fn finished(variant: &Variant) -> impl Iterator<Item = Counted<'_>> {
    variant.runs.iter().filter_map(|run| match &run.outcome {
        Outcome::Finished(summary) => Some((run.seed, &**summary)),
        Outcome::Failed { .. } => None,
    })
}

/// The runs of `variant` that count: those that finished and are judged by `metric`.
pub(crate) fn counted<'a>(
    variant: &'a Variant,
    metric: Option<&'a String>,
) -> impl Iterator<Item = Counted<'a>> {
    finished(variant).filter(move |(_, run)| Some(&run.eval.metric) == metric)
}

/// The other runs.
fn excluded(variant: &Variant, metric: Option<&String>) -> Vec<Excluded> {
    let reason = |outcome: &Outcome| match outcome {
        Outcome::Failed { reason } => Some(reason.clone()),
        Outcome::Finished(run) if Some(&run.eval.metric) == metric => None,
        Outcome::Finished(run) => Some(format!(
            "it is judged by {}, the first run by {}; compare variants of one task",
            run.eval.metric,
            metric.map_or("nothing", |metric| metric)
        )),
    };
    let excluded = variant.runs.iter().filter_map(|run| {
        let reason = reason(&run.outcome)?;
        Some(Excluded { variant: variant.name.clone(), seed: run.seed, reason })
    });
    excluded.collect()
}

impl VariantFigures {
    fn of(
        variant: &Variant,
        runs: &[Counted<'_>],
        reference: Option<&[Counted<'_>]>,
        target: Option<f64>,
    ) -> Self {
        let over = |figure: fn(&Summary) -> Option<f64>| {
            Statistic::of(runs.iter().filter_map(|(_, run)| figure(run)))
        };
        let is_reached = |at: &Evaluation| target.is_some_and(|target| at.score >= target);
        let reached: Vec<Evaluation> =
            runs.iter().filter_map(|(_, run)| Evaluation::each(run).find(is_reached)).collect();
        Self {
            name: variant.name.clone(),
            runs: variant.runs.len(),
            finished: runs.len(),
            score: over(|run| Some(run.eval.after)),
            difference: reference.and_then(|first| Statistic::of(differences(runs, first))),
            positive_f1: over(|run| run.eval.positive_f1),
            macro_f1: over(|run| run.eval.macro_f1),
            before: over(|run| Some(run.eval.before)),
            device_peak_bytes: over(|run| run.device.peak_rss_bytes.map(|bytes| bytes as f64)),
            device_forward_seconds: over(|run| Some(run.device.forward_seconds)),
            device_eval_seconds: over(|run| Some(run.device.eval_seconds)),
            samples_forwarded: over(|run| Some(run.device.samples_forwarded as f64)),
            held_out_forwarded: over(|run| Some(run.device.held_out_forwarded as f64)),
            bytes_up: over(|run| Some(run.link.bytes_up as f64)),
            bytes_down: over(|run| Some(run.link.bytes_down as f64)),
            bytes_up_per_sample: over(|run| Some(run.link.bytes_up_per_sample)),
            emulated_up_seconds: over(|run| run.link.emulated.map(|cost| cost.up_seconds)),
            emulated_down_seconds: over(|run| run.link.emulated.map(|cost| cost.down_seconds)),
            lost_packets: over(|run| run.link.emulated.map(|cost| cost.lost_packets as f64)),
            reached: reached.len(),
            seconds_to_target: Statistic::of(reached.iter().map(|at| at.seconds)),
            bytes_up_to_target: Statistic::of(reached.iter().map(|at| at.bytes_up)),
            server_seconds: over(|run| Some(run.server.train_seconds)),
            wall_seconds: over(|run| Some(run.wall_seconds)),
        }
    }
}

/// The final score of each of `runs` minus that of the same seed in `first`.
fn differences<'a>(
    runs: &'a [Counted<'a>],
    first: &'a [Counted<'a>],
) -> impl Iterator<Item = f64> + 'a {
    runs.iter().filter_map(|(seed, run)| {
        let (_, pair) = first.iter().find(|(of_first, _)| of_first == seed)?;
        Some(run.eval.after - pair.eval.after)
    })
}
