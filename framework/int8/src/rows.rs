//! What is done to one row of activations: norm, activation, quantization.
//!
//! All sums run over 16 lanes in the row's own order, so a row's result depends on nothing else, and
//! is the same in every instruction set.

use crate::isa::per_isa;
use crate::math::{ROUND, gelu, gelu_tanh, relu, silu, tanh};

const LANES: usize = 16;

/// Which norm a row gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Less the mean, over the standard deviation.
    Layer,
    /// Over the root of the mean square.
    Rms,
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x times its sigmoid.
    Silu,
    /// x times the normal distribution's share below x.
    Gelu,
    /// The same, approximated with tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

per_isa! {
    /// Writes the row as integers, `round(x / scale)` with ties to even, and returns the scale:
    /// largest magnitude / [`levels`] of the row. That of a row with an infinity or a NaN is a NaN.
    pub fn quantize(row: &[f32], quants: &mut [i16]) -> f32 = quantize_portable
}

per_isa! {
    /// The row's norm, times `weight`, plus `bias` if there is one.
    pub fn norm(
        kind: NormKind,
        epsilon: f32,
        row: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        normed: &mut [f32],
    ) = norm_portable
}

per_isa! {
    /// `activation(row)`, times `up` if there is one.
    pub fn activate(
        activation: Activation,
        row: &[f32],
        up: Option<&[f32]>,
        activated: &mut [f32],
    ) = activate_portable
}

/// The largest magnitude of a quantized value in a row of `inputs`: as many levels as 16 bits have, but
/// no more than let the row's products with bytes be summed in 32 bits, whatever they are.
///
/// ```
/// assert_eq!(mobillm_int8::levels(512), 32_767);
/// assert_eq!(mobillm_int8::levels(1536), 10_922);
/// ```
#[inline(always)]
pub fn levels(inputs: usize) -> i16 {
    let exact = i32::MAX as usize / (-i32::from(i8::MIN) as usize * inputs.max(1));
    i16::try_from(exact).unwrap_or(i16::MAX)
}

#[inline(always)]
fn quantize_portable(row: &[f32], quants: &mut [i16]) -> f32 {
    let absmax = absmax(row);
    let scale = absmax / f32::from(levels(row.len()));
    if !scale.is_normal() {
        quants.fill(0);
        return if absmax.is_finite() { 0.0 } else { f32::NAN };
    }
    let inverse = 1.0 / scale;
    for (quant, value) in quants.iter_mut().zip(row) {
        *quant = (value * inverse + ROUND).to_bits() as i16;
    }
    scale
}

/// Magnitudes are ordered by their bits, so that an infinity or a NaN is the largest.
#[inline(always)]
fn absmax(row: &[f32]) -> f32 {
    let magnitude = |value: f32| value.to_bits() & (u32::MAX >> 1);
    let (vectors, tail) = row.as_chunks::<LANES>();
    let mut most = [0; LANES];
    for vector in vectors {
        for (most, &value) in most.iter_mut().zip(vector) {
            *most = magnitude(value).max(*most);
        }
    }
    let most = most.into_iter().chain(tail.iter().map(|&value| magnitude(value))).max();
    f32::from_bits(most.unwrap_or(0))
}

/// The sum of `term` over the row.
#[inline(always)]
fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (vectors, tail) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for vector in vectors {
        for (sum, &value) in sums.iter_mut().zip(vector) {
            *sum += term(value);
        }
    }
    sums.into_iter().chain(tail.iter().map(|&value| term(value))).sum()
}

#[inline(always)]
fn norm_portable(
    kind: NormKind,
    epsilon: f32,
    row: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    normed: &mut [f32],
) {
    let count = row.len() as f32;
    let mean = match kind {
        NormKind::Layer => sum(row, |value| value) / count,
        NormKind::Rms => 0.0,
    };
    let inverse =
        1.0 / (sum(row, |value| (value - mean) * (value - mean)) / count + epsilon).sqrt();
    for ((normed, value), weight) in normed.iter_mut().zip(row).zip(weight) {
        *normed = (value - mean) * inverse * weight;
    }
    if let Some(bias) = bias {
        for (normed, bias) in normed.iter_mut().zip(bias) {
            *normed += bias;
        }
    }
}

#[inline(always)]
fn activate_portable(
    activation: Activation,
    row: &[f32],
    up: Option<&[f32]>,
    activated: &mut [f32],
) {
    match activation {
        Activation::Silu => apply(silu, row, up, activated),
        Activation::Gelu => apply(gelu, row, up, activated),
        Activation::GeluTanh => apply(gelu_tanh, row, up, activated),
        Activation::Relu => apply(relu, row, up, activated),
        Activation::Tanh => apply(tanh, row, up, activated),
    }
}

#[inline(always)]
fn apply(activation: impl Fn(f32) -> f32, row: &[f32], up: Option<&[f32]>, activated: &mut [f32]) {
    match up {
        Some(up) => {
            for ((activated, &value), up) in activated.iter_mut().zip(row).zip(up) {
                *activated = activation(value) * up;
            }
        }
        None => {
            for (activated, &value) in activated.iter_mut().zip(row) {
                *activated = activation(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::isa::Isa;

    fn row() -> impl Strategy<Value = Vec<f32>> {
        (-100i32..100).prop_flat_map(|exponent| {
            let value = (-1.0f32..1.0).prop_map(move |x| x * 2f32.powi(exponent));
            vec(value, 1..100)
        })
    }

    fn quantized(isa: Isa, row: &[f32]) -> (Vec<i16>, f32) {
        let mut quants = vec![0; row.len()];
        let scale = quantize(isa, row, &mut quants);
        (quants, scale)
    }

    proptest! {
        #[test]
        fn a_quantized_value_is_within_half_a_step(row in row()) {
            for isa in Isa::available() {
                let (quants, scale) = quantized(isa, &row);
                let levels = levels(row.len());
                for (&quant, value) in quants.iter().zip(&row) {
                    prop_assert!((-levels..=levels).contains(&quant));
                    let near = f32::from(quant) * scale;
                    prop_assert!((near - value).abs() <= scale * 0.51, "{value} as {quant} * {scale}");
                }
                let all_zero = row.iter().all(|value| *value == 0.0);
                prop_assert!(all_zero || quants.iter().any(|quant| quant.abs() == levels));
            }
        }

        #[test]
        fn every_instruction_set_gives_the_same_bits(row in row(), other in vec(-2.0f32..2.0, 100)) {
            let run = |isa| {
                let weight = &other[..row.len()];
                let mut out = Vec::new();
                for (kind, bias) in [(NormKind::Rms, None), (NormKind::Layer, Some(weight))] {
                    let mut normed = vec![0.0; row.len()];
                    norm(isa, kind, 1e-5, &row, weight, bias, &mut normed);
                    out.extend(normed);
                }
                let activations = [
                    Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh,
                ];
                for activation in activations {
                    for up in [None, Some(weight)] {
                        let mut activated = vec![0.0; row.len()];
                        activate(isa, activation, &row, up, &mut activated);
                        out.extend(activated);
                    }
                }
                let bits: Vec<u32> = out.into_iter().map(f32::to_bits).collect();
                (bits, quantized(isa, &row))
            };
            let mut sets = Isa::available().map(run);
            let first = sets.next().unwrap();
            prop_assert!(sets.all(|other| other == first));
        }
    }

    #[test]
    fn ties_go_to_even_and_zeros_have_no_scale() {
        for isa in Isa::available() {
            let row = [32_767.0, 0.5, 1.5, 2.5, -0.5, -1.5, -32_767.0];
            assert_eq!(quantized(isa, &row), (vec![32_767, 0, 2, 2, 0, -2, -32_767], 1.0));
            assert_eq!(quantized(isa, &[0.0, -0.0]), (vec![0; 2], 0.0));
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for isa in Isa::available() {
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let row: Vec<f32> = (0..40).map(|at| if at == 20 { odd } else { 1.0 }).collect();
                assert!(quantized(isa, &row).1.is_nan());
            }
        }
    }

    #[test]
    fn norms_are_what_their_names_say() {
        let row = [1.0, 2.0, 3.0, 6.0];
        let (weight, bias) = ([1.0, 1.0, 2.0, 1.0], [0.0, 1.0, 0.0, 0.0]);
        let mut normed = [0.0; 4];
        let near = |got: [f32; 4], expected: [f32; 4]| {
            assert!(
                got.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-6),
                "{got:?}"
            );
        };
        for isa in Isa::available() {
            norm(isa, NormKind::Layer, 0.5, &row, &weight, Some(&bias), &mut normed);
            near(normed, [-1.0, 0.5, 0.0, 1.5]);
            norm(isa, NormKind::Rms, 12.5, &row, &weight, None, &mut normed);
            near(normed, [0.2, 0.4, 1.2, 1.2]);
        }
    }
}
