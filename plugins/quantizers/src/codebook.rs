//! The levels of the 4 bit codes, and tables to find the nearest one fast.

/// Buckets per unit in which [`Codebook::bucket_thresholds`] cuts [-1, 1]: narrow enough for one
/// threshold a bucket at most, wide enough for 31 buckets, and with edges away from all thresholds.
pub(crate) const BUCKETS_PER_UNIT: f32 = 15.25;

/// The bucket of the value zero.
pub(crate) const ZERO_BUCKET: usize = 16;

/// Sixteen codes for numbers in [-1, 1].
///
/// A number's *rank* is how many thresholds it is above; thresholds are the midpoints between
/// neighbouring levels, so the level of that rank is the nearest one. A number on a midpoint takes
/// the lower level.
#[derive(Debug)]
pub(crate) struct Codebook {
    /// The level of each code.
    pub levels: [f32; 16],
    /// The code of each rank: levels ascend along it.
    pub code_of_rank: [u8; 16],
    /// Midpoints between the levels of rank i and i + 1; infinite where there is no such level.
    pub thresholds: [f32; 15],
    /// For bucket `round(number * BUCKETS_PER_UNIT) + ZERO_BUCKET` its one threshold, infinite if
    /// it has none.
    pub bucket_thresholds: [f32; 32],
    /// For each bucket the code below its threshold (low nibble) and above it (next nibble).
    pub bucket_codes: [i32; 32],
}

/// NormalFloat4: quantiles of a normal distribution, with an exact zero (QLoRA, arXiv 2305.14314,
/// appendix E). Codes are ranks.
pub(crate) static NF4: Codebook = Codebook::new(
    [
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ],
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    16,
);

/// E2M1 of the OCP microscaling formats: sign, two bits of exponent, one of mantissa, divided by its
/// largest value 6.
///
/// bitsandbytes' own `fp4` has 1/192 where this has 1/12: that leaves a gap of 0.16 next to zero,
/// where most values are, and doubles their error. Code 8 is the negative zero: readable, never written.
pub(crate) static FP4: Codebook = Codebook::new(
    [
        0.0,
        0.5 / 6.0,
        1.0 / 6.0,
        1.5 / 6.0,
        2.0 / 6.0,
        3.0 / 6.0,
        4.0 / 6.0,
        1.0,
        -0.0,
        -0.5 / 6.0,
        -1.0 / 6.0,
        -1.5 / 6.0,
        -2.0 / 6.0,
        -3.0 / 6.0,
        -4.0 / 6.0,
        -1.0,
    ],
    [15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 7],
    15,
);

impl Codebook {
    /// A codebook of `used` distinct levels, in the order `code_of_rank`.
    const fn new(levels: [f32; 16], code_of_rank: [u8; 16], used: usize) -> Self {
        let mut thresholds = [f32::INFINITY; 15];
        let mut rank = 0;
        while rank + 1 < used {
            let low = levels[code_of_rank[rank] as usize];
            let high = levels[code_of_rank[rank + 1] as usize];
            thresholds[rank] = (low + high) / 2.0;
            rank += 1;
        }
        let mut bucket_thresholds = [f32::INFINITY; 32];
        let mut bucket_codes = [0; 32];
        let mut bucket = 0;
        while bucket < 32 {
            let low_edge = (bucket as f32 - ZERO_BUCKET as f32 - 0.5) / BUCKETS_PER_UNIT;
            let high_edge = (bucket as f32 - ZERO_BUCKET as f32 + 0.5) / BUCKETS_PER_UNIT;
            let mut rank = 0;
            while rank < 15 && thresholds[rank] <= low_edge {
                rank += 1;
            }
            bucket_codes[bucket] = code_of_rank[rank] as i32;
            if rank < 15 && thresholds[rank] < high_edge {
                bucket_thresholds[bucket] = thresholds[rank];
                bucket_codes[bucket] |= (code_of_rank[rank + 1] as i32) << 4;
            }
            bucket += 1;
        }
        Self { levels, code_of_rank, thresholds, bucket_thresholds, bucket_codes }
    }

    /// How many thresholds `number` is above: what the kernels find faster.
    #[cfg(test)]
    pub fn rank(&self, number: f32) -> usize {
        self.thresholds.iter().map(|&threshold| usize::from(number > threshold)).sum()
    }

    /// Half the gap between the levels around `number`; on a level, half the wider gap.
    pub fn half_gap(&self, number: f64) -> f64 {
        let number = number.clamp(-1.0, 1.0);
        let level = |rank: usize| f64::from(self.levels[usize::from(self.code_of_rank[rank])]);
        (0..15)
            .map(|rank| (level(rank), level(rank + 1)))
            .filter(|(low, high)| (*low..=*high).contains(&number))
            .fold(0.0, |widest, (low, high)| f64::max(widest, (high - low) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(book: &Codebook, number: f32) -> f32 {
        let distance = |level: &f32| (f64::from(*level) - f64::from(number)).abs();
        let closer = |a: &f32, b: &f32| distance(a).total_cmp(&distance(b));
        book.levels.into_iter().min_by(closer).unwrap()
    }

    #[test]
    fn a_rank_is_that_of_the_nearest_level() {
        for book in [&NF4, &FP4] {
            for step in -4000..=4000 {
                let number = step as f32 / 4000.0;
                let level = book.levels[usize::from(book.code_of_rank[book.rank(number)])];
                let distance = (level - number).abs();
                assert!(distance <= (nearest(book, number) - number).abs() + 1e-7, "{number}");
            }
        }
    }

    #[test]
    fn levels_ascend_with_rank_and_span_the_unit() {
        for (book, used) in [(&NF4, 16), (&FP4, 15)] {
            let levels: Vec<f32> =
                book.code_of_rank.iter().map(|&code| book.levels[usize::from(code)]).collect();
            assert!(levels[..used].windows(2).all(|pair| pair[0] < pair[1]), "{levels:?}");
            assert_eq!((levels[0], levels[used - 1]), (-1.0, 1.0));
            assert!(levels.contains(&0.0));
        }
    }

    #[test]
    fn a_bucket_has_one_threshold_away_from_its_edges() {
        for book in [&NF4, &FP4] {
            let bucket = |number: f32| (number * BUCKETS_PER_UNIT).round_ties_even();
            let finite = book.thresholds.iter().filter(|threshold| threshold.is_finite());
            let mut last = f32::NEG_INFINITY;
            for &threshold in finite {
                assert!(bucket(threshold) > last, "two thresholds in bucket {last}");
                last = bucket(threshold);
                // Rounding moves a number by far less: it never decides about the bucket.
                assert_eq!(bucket(threshold - 1e-4), last);
                assert_eq!(bucket(threshold + 1e-4), last);
            }
        }
    }

    #[test]
    fn half_gaps_are_those_of_the_neighbours() {
        assert_eq!(FP4.half_gap(0.9), f64::from(1.0 - 4.0f32 / 6.0) / 2.0);
        assert!((FP4.half_gap(0.0) - 1.0 / 24.0).abs() < 1e-7);
        assert_eq!(FP4.half_gap(0.25), FP4.half_gap(0.3).max(FP4.half_gap(0.2)));
        assert!((NF4.half_gap(1.5) - (1.0 - 0.722_956_84) / 2.0).abs() < 1e-7);
    }
}
