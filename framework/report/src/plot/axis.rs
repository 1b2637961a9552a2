//! Axes with round figures.

use crate::unit::Unit;

/// Where values of a figure are drawn.
pub(super) struct Axis {
    /// What it shows, with its unit.
    pub(super) title: String,
    /// From figures to what is linear in the drawing.
    warp: fn(f64) -> f64,
    /// The ends, warped.
    from: (f64, f64),
    /// The same ends in the drawing.
    to: (f64, f64),
    /// In rising order.
    pub(super) ticks: Vec<Tick>,
}

/// A figure that is written at an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// The figure.
    pub(super) at: f64,
    /// How it is written.
    pub(super) label: String,
}

impl Axis {
    /// From `low` to `high` in the drawing's `to`, with about five ticks.
    pub(super) fn linear(title: &str, unit: Unit, (low, high): (f64, f64), to: (f64, f64)) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let scale = unit.scale(high);
        let step = round_step((high - low) / scale.worth / 5.0);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (low / scale.worth / step).ceil() as i64;
        let last = (high / scale.worth / step).floor() as i64;
        let tick = |index: i64| Tick {
            at: index as f64 * step * scale.worth,
            label: format!("{:.decimals$}", index as f64 * step),
        };
        let title = match scale.suffix.trim() {
            "" => title.to_owned(),
            unit => format!("{title}, {unit}"),
        };
        Self {
            title,
            warp: |value| value,
            from: (low, high),
            to,
            ticks: (first..=last).map(tick).collect(),
        }
    }

    /// The same for figures that are far apart, with a tick at round figures of each power of ten.
    pub(super) fn logarithmic(
        title: &str,
        unit: Unit,
        (low, high): (f64, f64),
        to: (f64, f64),
    ) -> Self {
        const CROWDED: usize = 6;
        let margin = (high / low).powf(0.05);
        let (low, high) = (low / margin, high * margin);
        let decades = || low.log10().floor() as i32..=high.log10().floor() as i32;
        let at = |steps: &[f64]| -> Vec<f64> {
            let of = |decade| steps.iter().map(move |step| step * 10_f64.powi(decade));
            decades().flat_map(of).filter(|at| (low..=high).contains(at)).collect()
        };
        let ticks = [at(&[1.0, 2.0, 5.0]), at(&[1.0, 3.0])];
        let ticks = ticks.into_iter().find(|ticks| ticks.len() < CROWDED);
        let ticks = ticks.unwrap_or_else(|| at(&[1.0])).into_iter();
        let ticks = ticks.map(|at| Tick { at, label: round_label(unit, at) }).collect();
        let title = format!("{title}, logarithmic");
        Self { title, warp: f64::log10, from: (low.log10(), high.log10()), to, ticks }
    }

    /// Where `value` is in the drawing.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = ((self.warp)(value) - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0].into_iter();
    // Rounding must not lift a step that is round already to the next one.
    let fits = factors.map(|factor| factor * decade).find(|round| *round >= step * (1.0 - 1e-9));
    fits.unwrap_or(10.0 * decade)
}

/// A round figure with its unit: no digits after the point that are zero.
fn round_label(unit: Unit, value: f64) -> String {
    let scale = unit.scale(value);
    format!("{}{}", (value / scale.worth * 1e3).round() / 1e3, scale.suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_figures_in_the_unit_of_the_largest() {
        let axis = Axis::linear("accuracy", Unit::Score, (0.9863, 0.9932), (0.0, 1.0));
        assert_eq!(labels(&axis), ["0.988", "0.990", "0.992"]);
        let axis = Axis::linear("wall time", Unit::Seconds, (0.0, 1000.0), (0.0, 1.0));
        assert_eq!((labels(&axis), &*axis.title), (vec!["0", "5", "10", "15"], "wall time, min"));
        let axis = Axis::logarithmic("bytes up", Unit::Bytes, (18.3e6, 468.4e6), (0.0, 1.0));
        assert_eq!(labels(&axis), ["20 MB", "50 MB", "100 MB", "200 MB", "500 MB"]);
    }

    proptest! {
        #[test]
        fn every_axis_has_a_few_ticks_and_keeps_them_in_order(
            low in 0.001..1e9_f64,
            ratio in 1.001..1e6_f64,
        ) {
            let ends = (low, low * ratio);
            let linear = Axis::linear("", Unit::Bytes, ends, (0.0, 100.0));
            let logarithmic = Axis::logarithmic("", Unit::Seconds, ends, (0.0, 100.0));
            prop_assert!((2..=6).contains(&linear.ticks.len()), "{:?}", labels(&linear));
            prop_assert!(ratio < 20.0 || (1..=8).contains(&logarithmic.ticks.len()), "{:?}", labels(&logarithmic));
            for axis in [linear, logarithmic] {
                let places: Vec<f64> = axis.ticks.iter().map(|tick| axis.at(tick.at)).collect();
                prop_assert!(places.is_sorted_by(|a, b| a < b));
                prop_assert!(places.iter().all(|at| (-1e-6..=100.0 + 1e-6).contains(at)));
            }
        }
    }
}
