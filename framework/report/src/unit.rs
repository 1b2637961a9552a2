//! Figures in units that are read at a glance.

use crate::statistic::Statistic;

/// What a figure counts: how it is written so that it is read at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A score, as a fraction.
    Score,
    /// A difference of scores, shown in points: hundredths.
    Points,
    /// Time.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
}

/// How figures of one size are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// What one of the unit shown is worth.
    pub(crate) worth: f64,
    /// Digits after the point.
    pub(crate) decimals: usize,
    /// The unit shown, after a space; may be empty.
    pub(crate) suffix: &'static str,
}

impl Unit {
    /// How figures as large as `value` are written.
    pub(crate) fn scale(self, value: f64) -> Scale {
        let scale = |worth, decimals, suffix| Scale { worth, decimals, suffix };
        match self {
            Self::Score => scale(1.0, 4, ""),
            Self::Points => scale(0.01, 2, ""),
            Self::Count => scale(1.0, if value.fract() == 0.0 { 0 } else { 1 }, ""),
            Self::Bytes => match value {
                1e12.. => scale(1e12, 2, " TB"),
                1e9.. => scale(1e9, 2, " GB"),
                1e6.. => scale(1e6, 1, " MB"),
                1e3.. => scale(1e3, 1, " kB"),
                _ => scale(1.0, 0, " B"),
            },
            Self::Seconds => match value {
                36_000.0.. => scale(3600.0, 1, " h"),
                600.0.. => scale(60.0, 1, " min"),
                10.0.. => scale(1.0, 1, " s"),
                _ => scale(1.0, 2, " s"),
            },
        }
    }

    /// `value` with its unit.
    ///
    /// ```
    /// use mobillm_report::Unit;
    ///
    /// assert_eq!(Unit::Bytes.show(32_287.0), "32.3 kB");
    /// assert_eq!(Unit::Seconds.show(900.0), "15.0 min");
    /// ```
    pub fn show(self, value: f64) -> String {
        let scale = self.scale(value);
        format!("{}{}", self.digits(value, scale), scale.suffix)
    }

    /// `statistic` of a variant of which `runs` seeds count: its mean, and its spread where there is
    /// one to be seen.
    pub(crate) fn show_statistic(self, statistic: &Statistic, runs: usize) -> String {
        let Statistic { n, mean, min, max, deviation } = *statistic;
        let scale = self.scale(mean);
        let digits = |value| self.digits(value, scale);
        let mut text = digits(mean);
        match deviation {
            // A spread has no sign.
            Some(spread) if plain(spread, scale) != plain(0.0, scale) => {
                text += &format!(" ± {}", plain(spread, scale));
            }
            None if digits(min) != digits(max) => {
                text += &format!(" ({} to {})", digits(min), digits(max));
            }
            _ => {}
        }
        text += scale.suffix;
        if n < runs || (self == Self::Points && n == 1) {
            text += &format!(", n = {n}");
        }
        text
    }

    fn digits(self, value: f64, scale: Scale) -> String {
        let digits = plain(value, scale);
        // Rounding leaves the sign of what it made zero.
        let zero = plain(0.0, scale);
        match self {
            _ if digits.trim_start_matches('-') == zero => zero,
            Self::Points if value > 0.0 => format!("+{digits}"),
            _ => digits,
        }
    }
}

fn plain(value: f64, Scale { worth, decimals, .. }: Scale) -> String {
    format!("{:.decimals$}", value / worth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(unit: Unit, values: &[f64], runs: usize) -> String {
        unit.show_statistic(&Statistic::of(values.iter().copied()).unwrap(), runs)
    }

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        assert_eq!(shown(Unit::Score, &[0.99], 1), "0.9900");
        assert_eq!(shown(Unit::Score, &[0.98, 0.99], 2), "0.9850 (0.9800 to 0.9900)");
        assert_eq!(shown(Unit::Score, &[0.98, 0.99, 1.0], 3), "0.9900 ± 0.0100");
        assert_eq!(shown(Unit::Count, &[14508.0; 3], 3), "14508");
        assert_eq!(shown(Unit::Seconds, &[43.31, 43.32, 43.33], 3), "43.3 s");
        assert_eq!(shown(Unit::Bytes, &[4e8, 5e8], 3), "450.0 (400.0 to 500.0) MB, n = 2");
    }

    #[test]
    fn differences_have_a_sign_and_no_negative_zero() {
        assert_eq!(shown(Unit::Points, &[-0.002, 0.001], 2), "-0.05 (-0.20 to +0.10)");
        assert_eq!(shown(Unit::Points, &[-1e-9], 1), "0.00, n = 1");
        assert_eq!(shown(Unit::Points, &[0.01, 0.02, 0.03], 3), "+2.00 ± 1.00");
    }

    #[test]
    fn units_follow_the_size() {
        for (unit, value, expected) in [
            (Unit::Bytes, 999.0, "999 B"),
            (Unit::Bytes, 32_300.0, "32.3 kB"),
            (Unit::Bytes, 2.5e9, "2.50 GB"),
            (Unit::Seconds, 0.354, "0.35 s"),
            (Unit::Seconds, 599.0, "599.0 s"),
            (Unit::Seconds, 900.0, "15.0 min"),
            (Unit::Seconds, 36_000.0, "10.0 h"),
            (Unit::Count, 12.5, "12.5"),
        ] {
            assert_eq!(unit.show(value), expected);
        }
    }
}
