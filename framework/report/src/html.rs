//! report.html: one file without scripts, which needs nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::comparison::Comparison;
use crate::config_difference::differences;
use crate::evaluation::Evaluation;
use crate::figures::{VariantFigures, counted};
use crate::plot::{Bar, Curve, Plot, Point, bars, marker};
use crate::rows::{Row, groups, target_in_words};
use crate::unit::Unit;

/// Read by eyes in light and dark, on a phone and on paper.
const STYLE: &str = include_str!("report.css");
/// What a browser may load for the page: nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole page.
pub(crate) fn page(comparison: &Comparison) -> Markup {
    let names: Vec<&str> =
        comparison.variants.iter().map(|variant| variant.name.as_str()).collect();
    let title = names.join(" · ");
    let groups = groups(comparison);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (facts(comparison))
                }
                main {
                    (figures(&names, &groups))
                    (excluded(comparison))
                    (plots(comparison))
                    (memory(comparison))
                    (config(comparison, &names))
                    (definitions(&groups))
                }
            }
        }
    }
}

/// What holds for the whole page.
fn facts(comparison: &Comparison) -> Markup {
    let mut seeds: Vec<u64> = comparison
        .variants
        .iter()
        .flat_map(|variant| variant.runs.iter().map(|run| run.seed))
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let machine = &comparison.machine;
    let cores = if machine.cores == 1 { "core" } else { "cores" };
    html! {
        dl.facts {
            div { dt { "Metric" } dd { (comparison.figures.metric.as_deref().unwrap_or("none")) } }
            div { dt { "Target" } dd { (target_in_words(comparison)) } }
            div { dt { @if seeds.len() == 1 { "Seed" } @else { "Seeds" } } dd { (seeds.join(", ")) } }
            div { dt { "Machine" } dd { (machine.cores) " " (cores) ", " (machine.cpu) ", " (machine.os) } }
        }
    }
}

/// A table that scrolls by itself where it is wider than the page.
fn wide(id: &str, caption: &str, head: &[&str], bodies: Markup) -> Markup {
    html! {
        div.wide role="region" aria-labelledby=(id) tabindex="0" {
            table {
                caption id=(id) { (caption) }
                thead {
                    tr {
                        td {}
                        @for (index, name) in head.iter().enumerate() {
                            th scope="col" { span.name { (swatch(index)) " " (name) } }
                        }
                    }
                }
                (bodies)
            }
        }
    }
}

/// The colour and the marker of a variant.
fn swatch(index: usize) -> Markup {
    html! {
        svg.swatch viewBox="0 0 12 12" aria-hidden="true" { (marker(index, (6.0, 6.0))) }
    }
}

fn figures(names: &[&str], groups: &[Vec<Row>]) -> Markup {
    let bodies = html! {
        @for rows in groups {
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.label) }
                        @for cell in &row.cells { td { (cell) } }
                    }
                }
            }
        }
    };
    html! { section { (wide("figures", "Figures", names, bodies)) } }
}

fn excluded(comparison: &Comparison) -> Markup {
    let excluded = &comparison.figures.excluded;
    html! {
        @if !excluded.is_empty() {
            section.excluded {
                h2 { "Runs that are not counted" }
                dl {
                    @for run in excluded {
                        dt { (run.variant) ", seed " (run.seed) }
                        dd { (run.reason) }
                    }
                }
            }
        }
    }
}

/// The curves of all variants, `spent` being what an evaluation is drawn over.
fn curves(comparison: &Comparison, spent: fn(&Evaluation) -> f64) -> Vec<Curve> {
    let metric = comparison.figures.metric.as_ref();
    let points = |evaluations: &Vec<Evaluation>| -> Vec<Point> {
        evaluations.iter().map(|at| (spent(at), at.score)).collect()
    };
    let curve = |(index, variant)| {
        let runs: Vec<Vec<Evaluation>> =
            counted(variant, metric).map(|(_, run)| Evaluation::each(run).collect()).collect();
        Curve {
            name: variant.name.clone(),
            index,
            mean: points(&Evaluation::mean(&runs)),
            seeds: runs.iter().map(points).collect(),
        }
    };
    let curves = comparison.variants.iter().enumerate().map(curve);
    curves.filter(|curve| !curve.mean.is_empty()).collect()
}

fn plots(comparison: &Comparison) -> Markup {
    let Some(metric) = &comparison.figures.metric else { return Markup::default() };
    let plot = |id, spent, unit, of: fn(&Evaluation) -> f64| Plot {
        id,
        title: format!("{metric} over {spent}"),
        metric: metric.clone(),
        spent,
        unit,
        curves: curves(comparison, of),
        target: comparison.figures.target,
    };
    let plots = [
        plot("over-seconds", "wall time", Unit::Seconds, |at| at.seconds),
        plot("over-bytes", "bytes up", Unit::Bytes, |at| at.bytes_up),
    ];
    let curves = &plots[0].curves;
    html! {
        @if !curves.is_empty() {
            section {
                h2 { "What a score costs" }
                @if curves.len() > 1 {
                    ul.legend { @for curve in curves { li { (swatch(curve.index)) " " (curve.name) } } }
                }
                div.plots { @for plot in &plots { figure { figcaption { (plot.title) } (plot.svg()) } } }
                p.note {
                    "A marker is the evaluation after an epoch"
                    @if curves.iter().any(|curve| curve.seeds.len() > 1) {
                        ", mean over the seeds; faint lines are the single seeds"
                    }
                    "."
                }
            }
        }
    }
}

fn memory(comparison: &Comparison) -> Markup {
    let bar = |(index, variant): (usize, &VariantFigures)| {
        let peak = variant.device_peak_bytes?;
        Some(Bar {
            name: variant.name.clone(),
            index,
            value: peak.mean,
            range: (peak.min, peak.max),
            label: Unit::Bytes.show_statistic(&peak, variant.finished),
        })
    };
    let found: Vec<Bar> = comparison.figures.variants.iter().enumerate().filter_map(bar).collect();
    let title = "Peak resident memory of the device";
    html! {
        @if !found.is_empty() {
            section {
                h2 { "Device memory" }
                figure.memory { figcaption { (title) } (bars("memory", title, &found)) }
            }
        }
    }
}

fn config(comparison: &Comparison, names: &[&str]) -> Markup {
    let differences = differences(&comparison.variants);
    let bodies = html! {
        tbody {
            @for difference in &differences {
                tr {
                    th scope="row" { code { (difference.key) } }
                    @for value in &difference.values {
                        td { @match value { Some(value) => code { (value) }, None => "not set" } }
                    }
                }
            }
        }
    };
    html! {
        @if comparison.variants.len() > 1 {
            section.config {
                @if differences.is_empty() {
                    h2 { "What differs between the configs" }
                    p { "Nothing." }
                } @else {
                    (wide("config", "What differs between the configs", names, bodies))
                }
            }
        }
    }
}

fn definitions(groups: &[Vec<Row>]) -> Markup {
    html! {
        section.definitions {
            h2 { "How each figure is defined" }
            dl {
                @for row in groups.iter().flatten() {
                    div { dt { (row.label) } dd { (row.meaning) } }
                }
            }
        }
    }
}
