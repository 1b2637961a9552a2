//! Functions of single numbers and of rows, in plain loops that the compiler vectorizes.

use mobillm_bundle::network::Activation;

/// Accumulators of a sum: enough to keep the vector units busy. Their number is part of the result.
const LANES: usize = 16;

/// Calls `work` compiled for the widest vectors that this processor has; what it calls must be inlined
/// to profit.
#[inline(always)]
pub(crate) fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// The sum of `term` over `values`.
#[inline(always)]
pub(crate) fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += term(value));
    }
    lanes.into_iter().chain(rest.iter().map(|&value| term(value))).sum()
}

/// The largest of `values`, or one of them if some are NaN.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let larger = |most: f32, value: f32| if value > most { value } else { most };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane = larger(*lane, value));
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

/// `scores` become the weights that sum to one.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32]) {
    let largest = largest(scores);
    scores.iter_mut().for_each(|score| *score = exp(*score - largest));
    let scale = 1.0 / sum(scores, |weight| weight);
    scores.iter_mut().for_each(|weight| *weight *= scale);
}

/// The nearest integer, halves to the even one, of a number of magnitude below 2^22.
#[inline(always)]
pub(crate) fn round(x: f32) -> f32 {
    // From 2^23 on floats are integers: the sum is rounded. Two additions on every machine, which
    // `round_ties_even` is not.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

/// e to the x, to 2e-7 relative; what would be below 1.2e-38 is that.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // ln 2 in two parts: the first has so few bits that its multiples are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let power = round(x * std::f32::consts::LOG2_E);
    let r = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let high = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * high)));
    // 2 to the power: an exponent without a mantissa.
    f32::from_bits(((power + 127.0) as i32 as u32) << 23) * series
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, to 2e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = t * (-1.453_152_1 + t * 1.061_405_4);
    let series = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_8 + series)));
    (1.0 - series * exp(-x * x)).copysign(x)
}

/// `activation` at each of `values`.
#[inline(always)]
pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
    let mut map = |at: fn(f32) -> f32| values.iter_mut().for_each(|value| *value = at(*value));
    match activation {
        Activation::Gelu => map(|x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
        Activation::GeluTanh => map(gelu_tanh),
        Activation::Relu => map(|x| if x < 0.0 { 0.0 } else { x }),
        Activation::Silu => map(|x| x * sigmoid(x)),
        Activation::Tanh => map(|x| 2.0 * sigmoid(2.0 * x) - 1.0),
    }
}

/// `x/2 (1 + tanh(u)) = x sigmoid(2u)`, of which the right side is the faster.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
    x * sigmoid(TWICE_SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From -100 to 100, and a NaN.
    fn numbers() -> Vec<f32> {
        (-20_000..=20_000).map(|step| step as f32 * 0.005).chain([f32::NAN]).collect()
    }

    /// erf by its series (Abramowitz and Stegun 7.1.6), which converges where it matters.
    fn exact_erf(x: f64) -> f64 {
        if x.abs() > 5.0 {
            return x.signum();
        }
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
    }

    fn exact(activation: Activation, x: f64) -> f64 {
        let cube = x + 0.044715 * x * x * x;
        match activation {
            Activation::Gelu => 0.5 * x * (1.0 + exact_erf(x / 2f64.sqrt())),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + (cube * (2.0 / std::f64::consts::PI).sqrt()).tanh())
            }
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
        }
    }

    #[test]
    fn activations_are_the_functions_they_are_called_after() {
        use Activation::{Gelu, GeluTanh, Relu, Silu, Tanh};
        for activation in [Gelu, GeluTanh, Relu, Silu, Tanh] {
            let mut got = numbers();
            vectorized(|| activate(activation, &mut got));
            for (got, x) in got.into_iter().zip(numbers()) {
                if x.is_nan() {
                    assert!(got.is_nan(), "{activation:?} of NaN is {got}");
                    continue;
                }
                let exact = exact(activation, f64::from(x));
                let error = (f64::from(got) - exact).abs();
                assert!(error < 4e-7 * (1.0 + f64::from(x).abs()), "{activation:?} {x}: {got}");
            }
        }
    }

    #[test]
    fn exp_is_right_to_the_last_bits_where_it_neither_vanishes_nor_overflows() {
        for x in numbers().into_iter().filter(|x| (-87.3..=88.3).contains(x)) {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "{x}: {}", exp(x));
        }
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn weights_are_shares_of_exponentials() {
        for length in [1, 15, 16, 17, 100] {
            let scores: Vec<f32> = (0..length).map(|at| (at as f32 * 2.3).sin() * 30.0).collect();
            let mut weights = scores.clone();
            softmax(&mut weights);
            let exact: Vec<f64> = scores.iter().map(|&score| f64::from(score).exp()).collect();
            let total: f64 = exact.iter().sum();
            for (&weight, exact) in weights.iter().zip(exact) {
                assert!((f64::from(weight) - exact / total).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn halves_are_rounded_to_even() {
        let numbers = [0.5, 1.5, 2.5, -0.5, -1.5, 126.5, -126.51];
        assert_eq!(numbers.map(round), [0.0, 2.0, 2.0, 0.0, -2.0, 126.0, -127.0]);
    }
}
