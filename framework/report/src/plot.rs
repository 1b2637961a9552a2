//! Plots as inline SVG: colours come from the page's style sheet, so that they follow light and dark.

mod axis;
mod bars;

use maud::{Markup, html};

use self::axis::Axis;
use crate::unit::Unit;

pub(crate) use bars::{Bar, bars};

/// Colours of the style sheet (`.c0` to `.c5`), each with a marker of its own, so that nobody needs
/// to see the colours. Later variants (`.again`) have them hollow and dashed.
const STYLES: usize = 6;

/// The size of a plot in its own units; it is drawn as wide as there is room.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 44.0;

/// Figures that are further apart than this need a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 20.0;

/// A point: what was spent, the score.
pub(crate) type Point = (f64, f64);

/// What one variant has to show.
pub(crate) struct Curve {
    /// The variant.
    pub(crate) name: String,
    /// Its place among the variants.
    pub(crate) index: usize,
    /// The mean over its seeds.
    pub(crate) mean: Vec<Point>,
    /// Each seed.
    pub(crate) seeds: Vec<Vec<Point>>,
}

/// A score over what was spent for it.
pub(crate) struct Plot {
    /// Unique on the page.
    pub(crate) id: &'static str,
    /// The title.
    pub(crate) title: String,
    /// The metric.
    pub(crate) metric: String,
    /// What is spent.
    pub(crate) spent: &'static str,
    /// Its unit.
    pub(crate) unit: Unit,
    /// At least one, none of them empty.
    pub(crate) curves: Vec<Curve>,
    /// The score of the target.
    pub(crate) target: Option<f64>,
}

impl Plot {
    /// The plot, with a description for those who do not see it.
    pub(crate) fn svg(&self) -> Markup {
        let (x, y) = self.axes();
        let at = |&(spent, score): &Point| (x.at(spent), y.at(score));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
                aria-labelledby={ (self.id) "-title " (self.id) "-description" } {
                title id={ (self.id) "-title" } { (self.title) }
                desc id={ (self.id) "-description" } { (self.description()) }
                @for tick in &y.ticks {
                    line.grid x1=(LEFT) x2=(right) y1=(round(y.at(tick.at))) y2=(round(y.at(tick.at))) {}
                    text.tick x=(LEFT - 8.0) y=(round(y.at(tick.at) + 4.0)) text-anchor="end" {
                        (tick.label)
                    }
                }
                @for tick in &x.ticks {
                    line.grid x1=(round(x.at(tick.at))) x2=(round(x.at(tick.at))) y1=(TOP) y2=(bottom) {}
                    text.tick x=(round(x.at(tick.at))) y=(bottom + 18.0) text-anchor="middle" {
                        (tick.label)
                    }
                }
                line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                text.label x=(right) y=(HEIGHT - 6.0) text-anchor="end" { (x.title) }
                text.label x="4" y="12" { (self.metric) }
                @for curve in &self.curves {
                    @for seed in &curve.seeds {
                        path.seed.(colour(curve.index)) d=(path(seed.iter().map(at))) {}
                    }
                }
                @for curve in &self.curves {
                    path.mean.(colour(curve.index)) d=(path(curve.mean.iter().map(at))) {}
                    @for point in &curve.mean { (marker(curve.index, at(point))) }
                }
                @if let Some(target) = self.target {
                    line.target x1=(LEFT) x2=(right) y1=(round(y.at(target))) y2=(round(y.at(target))) {}
                    text.target x=(right) y=(round(y.at(target) - 5.0)) text-anchor="end" {
                        "target " (Unit::Score.show(target))
                    }
                }
            }
        }
    }

    fn axes(&self) -> (Axis, Axis) {
        let points =
            || self.curves.iter().flat_map(|curve| curve.seeds.iter().flatten().chain(&curve.mean));
        let totals = self.curves.iter().filter_map(|curve| curve.mean.last()).map(|point| point.0);
        let (cheapest, dearest) = ends(totals);
        let (first, last) = ends(points().map(|point| point.0));
        let across = (LEFT, WIDTH - RIGHT);
        let x = match first > 0.0 && dearest / cheapest > LOGARITHMIC_FROM {
            true => Axis::logarithmic(self.spent, self.unit, (first, last), across),
            false => Axis::linear(self.spent, self.unit, (0.0, last), across),
        };
        let (low, high) = ends(points().map(|point| point.1).chain(self.target));
        let margin = ((high - low) * 0.08).max(0.001);
        let up = (HEIGHT - BOTTOM, TOP + 4.0);
        (x, Axis::linear(&self.metric, Unit::Score, (low - margin, high + margin), up))
    }

    fn description(&self) -> String {
        let end = |curve: &Curve| {
            let &(spent, score) = curve.mean.last()?;
            let (spent, score) = (self.unit.show(spent), Unit::Score.show(score));
            Some(format!("{}: {} {score} after {spent}.", curve.name, self.metric))
        };
        self.curves.iter().filter_map(end).collect::<Vec<_>>().join(" ")
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

/// The classes of a variant's colour.
fn colour(index: usize) -> String {
    format!("c{}{}", index % STYLES, if index < STYLES { "" } else { " again" })
}

const PLUS: [Point; 12] = [
    (-1.7, -5.0),
    (1.7, -5.0),
    (1.7, -1.7),
    (5.0, -1.7),
    (5.0, 1.7),
    (1.7, 1.7),
    (1.7, 5.0),
    (-1.7, 5.0),
    (-1.7, 1.7),
    (-5.0, 1.7),
    (-5.0, -1.7),
    (-1.7, -1.7),
];

/// The marker of the variant `index` around a point of the drawing.
pub(crate) fn marker(index: usize, (x, y): Point) -> Markup {
    let corners: &[Point] = match index % STYLES {
        0 => &[],
        1 => &[(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)],
        2 => &[(0.0, -5.0), (4.6, 3.4), (-4.6, 3.4)],
        3 => &[(0.0, -5.2), (5.2, 0.0), (0.0, 5.2), (-5.2, 0.0)],
        4 => &[(0.0, 5.0), (4.6, -3.4), (-4.6, -3.4)],
        _ => &PLUS,
    };
    html! {
        @if corners.is_empty() {
            circle.marker.(colour(index)) cx=(round(x)) cy=(round(y)) r="4" {}
        } @else {
            path.marker.(colour(index))
                d={ (path(corners.iter().map(|(dx, dy)| (x + dx, y + dy)))) "Z" } {}
        }
    }
}

fn path(points: impl Iterator<Item = Point>) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.enumerate() {
        path += &format!("{}{} {}", if index == 0 { "M" } else { "L" }, round(x), round(y));
    }
    path
}

/// A tenth is finer than any screen; more digits would only make the file larger.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
