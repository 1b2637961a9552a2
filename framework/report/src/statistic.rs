//! One figure over the seeds.

use serde::Serialize;

/// One figure over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistic {
    /// The seeds that have the figure.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The sample standard deviation, which divides by n - 1; `None` below three seeds, of which it
    /// would say no more than [`min`](Self::min) and [`max`](Self::max).
    pub deviation: Option<f64>,
}

impl Statistic {
    /// The figure `values` over the seeds; `None` if no seed has it.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() {
            return None;
        }
        let n = values.len();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Rounding must not move the mean of equal values away from them.
        let mean = (values.iter().sum::<f64>() / n as f64).max(min).min(max);
        let deviation = (n > 2).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (n - 1) as f64).sqrt()
        });
        Some(Self { n, mean, min, max, deviation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_worked_out_by_hand() {
        let three = Statistic::of([2.0, 4.0, 9.0]).unwrap();
        assert_eq!((three.n, three.mean, three.min, three.max), (3, 5.0, 2.0, 9.0));
        assert_eq!(three.deviation, Some(13.0_f64.sqrt()));
        assert_eq!(Statistic::of([2.0, 4.0]).unwrap().deviation, None);
        assert_eq!(Statistic::of([]), None);
    }

    proptest! {
        #[test]
        fn equal_values_are_their_own_mean(value in 0.0..1e12_f64, n in 1usize..9) {
            let of = Statistic::of(std::iter::repeat_n(value, n)).unwrap();
            prop_assert_eq!((of.mean, of.min, of.max), (value, value, value));
            prop_assert_eq!(of.deviation, (n > 2).then_some(0.0));
        }

        #[test]
        fn a_shift_moves_the_mean_and_no_spread(values in prop::collection::vec(-1e3..1e3_f64, 3..9)) {
            let of = Statistic::of(values.iter().copied()).unwrap();
            let shifted = Statistic::of(values.iter().map(|value| value + 64.0)).unwrap();
            prop_assert!((shifted.mean - of.mean - 64.0).abs() < 1e-9);
            prop_assert!((shifted.deviation.unwrap() - of.deviation.unwrap()).abs() < 1e-9);
            prop_assert!(of.min <= of.mean && of.mean <= of.max);
        }
    }
}
