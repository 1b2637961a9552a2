//! Bars with their names.

use maud::{Markup, html};

use super::{WIDTH, colour, ends, round};

/// One bar of [`bars`].
pub(crate) struct Bar {
    /// The variant.
    pub(crate) name: String,
    /// Its place among the variants.
    pub(crate) index: usize,
    /// How long the bar is.
    pub(crate) value: f64,
    /// The smallest and the largest that it stands for.
    pub(crate) range: (f64, f64),
    /// What is written beside it.
    pub(crate) label: String,
}

/// The height of a bar with its name.
const EACH: f64 = 46.0;

/// Bars that begin at zero, under their names.
pub(crate) fn bars(id: &str, title: &str, bars: &[Bar]) -> Markup {
    let (_, longest) = ends(bars.iter().map(|bar| bar.range.1));
    let length = |value: f64| round(value / longest.max(1.0) * (WIDTH - 2.0));
    let describe = |bar: &Bar| format!("{}: {}.", bar.name, bar.label);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (EACH * bars.len() as f64) } role="img"
            aria-labelledby={ (id) "-title " (id) "-description" } {
            title id={ (id) "-title" } { (title) }
            desc id={ (id) "-description" } {
                (bars.iter().map(describe).collect::<Vec<_>>().join(" "))
            }
            @for (row, bar) in bars.iter().enumerate() {
                @let top = row as f64 * EACH;
                text.name x="0" y=(top + 13.0) { (shortened(&bar.name)) }
                text.name x=(WIDTH) y=(top + 13.0) text-anchor="end" { (bar.label) }
                rect.bar.(colour(bar.index)) x="0" y=(top + 20.0) height="14" rx="2"
                    width=(length(bar.value)) {}
                @if length(bar.range.0) != length(bar.range.1) {
                    path.range d={
                        "M" (length(bar.range.0)) " " (top + 27.0) "H" (length(bar.range.1))
                        "M" (length(bar.range.0)) " " (top + 23.0) "v8"
                        "M" (length(bar.range.1)) " " (top + 23.0) "v8"
                    } {}
                }
            }
        }
    }
}

/// A name that leaves room for a figure beside it.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 34;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}
