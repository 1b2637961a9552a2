//! Functions of one number that the compiler can vectorize: no branch, no table, no call.

use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// Added to a float below 2^22 and taken away again, it leaves the nearest integer, ties to even;
/// while added, that integer is in the lowest bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// e to the power of `x`, within 3e-7 of it in relation; below -87 it is 0.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // x = power * ln 2 + rest; ln 2 in two parts, the first of which has 15 bits, so that its product
    // with the power is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = (LN_2 as f64 - LN_2_HIGH as f64) as f32;
    let kept = x.clamp(-87.0, 88.0);
    let shifted = kept * LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = kept - power * LN_2_HIGH - power * LN_2_LOW;
    // Cephes' polynomial for |rest| <= ln 2 / 2.
    let p = 1.987_569_2e-4;
    let p = p * rest + 1.398_2e-3;
    let p = p * rest + 8.333_452e-3;
    let p = p * rest + 4.166_579_6e-2;
    let p = p * rest + 1.666_666_6e-1;
    let p = p * rest + 0.5;
    let power_of_two = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let result = (p * (rest * rest) + rest + 1.0) * power_of_two;
    // Not by `max`, so that what is not a number stays so.
    if x < -87.0 { 0.0 } else { result }
}

/// x times its sigmoid.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// x times the normal distribution's share below x, by Abramowitz and Stegun's 7.1.26: the share is
/// within 1e-7.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let p = 1.061_405_4;
    let p = p * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let outside = p * t * exp(-z * z);
    x * 0.5 * (if x < 0.0 { outside } else { 2.0 - outside })
}

/// [`gelu`] approximated with tanh, which is a sigmoid of twice its argument.
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    const TWICE_ROOT_2_OVER_PI: f32 = 1.595_769;
    x / (1.0 + exp(-TWICE_ROOT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// The larger of x and 0; what is not a number stays so.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The integral of the normal density from 0 to `x`, by Simpson's rule.
    fn share_from_zero(x: f64) -> f64 {
        const STEPS: usize = 2000;
        let step = x / STEPS as f64;
        let density = |at: usize| (-(at as f64 * step).powi(2) / 2.0).exp();
        let inner: f64 = (1..STEPS).map(|at| density(at) * [2.0, 4.0][at % 2]).sum();
        (density(0) + inner + density(STEPS)) * step / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
    }

    proptest! {
        #[test]
        fn exp_is_near(x in -87.0f32..88.0) {
            let expected = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) / expected - 1.0).abs() < 3e-7, "{x}: {}", exp(x));
        }

        #[test]
        fn activations_are_near(x in -30.0f32..30.0) {
            let wide = f64::from(x);
            let near = |got: f32, expected: f64| (f64::from(got) - expected).abs() < 1e-6 * (1.0 + wide.abs());
            prop_assert!(near(silu(x), wide / (1.0 + (-wide).exp())), "{x}: {}", silu(x));
            prop_assert!(near(gelu(x), wide * (0.5 + share_from_zero(wide))), "{x}: {}", gelu(x));
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            prop_assert!(near(gelu_tanh(x), 0.5 * wide * (1.0 + inner.tanh())), "{x}: {}", gelu_tanh(x));
            prop_assert_eq!(relu(x), x.max(0.0));
            prop_assert!(near(tanh(x), wide.tanh()), "{x}: {}", tanh(x));
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for function in [exp, silu, gelu, gelu_tanh, relu, tanh] {
            assert!(function(f32::NAN).is_nan());
        }
        assert_eq!((exp(f32::NEG_INFINITY), exp(0.0)), (0.0, 1.0));
    }
}
