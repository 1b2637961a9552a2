//! Rotary position embeddings: what `config.json` says of them, as numbers.
//!
//! Frequency p of a head of width d is `theta^(-2p/d)` (Su et al. 2021). Two ways of stretching them to
//! longer texts are known: `linear` divides all by one factor (Chen et al. 2023), and `llama3` only the
//! slow ones, with a smooth passage. Others change the scores of attention too, or change with the
//! length of the text.

use std::f32::consts::TAU;

use serde::Deserialize;

use super::ImportError;
use super::config::Config;
use crate::network::Rotary;

/// Head widths up to this are believed.
pub(super) const WIDEST_HEAD: usize = 1 << 16;

/// `transformers` 5 keeps all in `rope_parameters`; before, there were `rope_theta` and `rope_scaling`.
#[derive(Deserialize)]
struct RopeConfig {
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
    max_position_embeddings: usize,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RopeParameters {
    rope_type: Option<String>,
    r#type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
    partial_rotary_factor: Option<f32>,
}

/// What is done to frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scaling {
    None,
    Linear { factor: f32 },
    Llama3 { factor: f32, low: f32, high: f32, original: f32 },
}

/// How queries and keys of heads of `head_width` numbers turn.
///
/// # Errors
/// If the config asks for another kind of rotation, or a head cannot be halved.
pub(super) fn rotary(config: &Config, head_width: usize) -> Result<Rotary, ImportError> {
    let rope: RopeConfig = config.parse()?;
    if !head_width.is_multiple_of(2) || head_width > WIDEST_HEAD {
        return Err(config.wrong(format!(
            "a head is {head_width} wide, expected an even number up to {WIDEST_HEAD}"
        )));
    }
    let parameters = rope.rope_scaling.or(rope.rope_parameters).unwrap_or_default();
    let theta = parameters.rope_theta.or(rope.rope_theta).unwrap_or(10_000.0);
    let scaling = parameters
        .scaling(rope.max_position_embeddings)
        .map_err(|problem| config.wrong(format!("rope parameters: {problem}")))?;
    if !(theta.is_finite() && theta > 1.0) {
        return Err(config.wrong(format!("`rope_theta` is {theta}, expected more than 1")));
    }
    let frequencies = frequencies(head_width, theta, scaling)
        .map_err(|problem| config.wrong(format!("rope parameters: {problem}")))?;
    Ok(Rotary { frequencies })
}

impl RopeParameters {
    fn scaling(&self, max_tokens: usize) -> Result<Scaling, String> {
        if self.partial_rotary_factor.is_some_and(|factor| factor != 1.0) {
            return Err("`partial_rotary_factor` is not 1; only whole heads are turned".to_owned());
        }
        let kind = self.rope_type.as_deref().or(self.r#type.as_deref()).unwrap_or("default");
        let positive = |key: &str, value: Option<f32>| {
            let value = value.filter(|value| value.is_finite() && *value > 0.0);
            value.ok_or_else(|| format!("{kind:?} needs a positive `{key}`"))
        };
        match kind {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear { factor: positive("factor", self.factor)? }),
            "llama3" => {
                let low = positive("low_freq_factor", self.low_freq_factor)?;
                let high = positive("high_freq_factor", self.high_freq_factor)?;
                if low >= high {
                    return Err(format!(
                        "`high_freq_factor` is {high}, expected more than `low_freq_factor` {low}"
                    ));
                }
                let original = self.original_max_position_embeddings.unwrap_or(max_tokens) as f32;
                Ok(Scaling::Llama3 {
                    factor: positive("factor", self.factor)?,
                    low,
                    high,
                    original,
                })
            }
            other => {
                Err(format!("the kind {other:?} is not known, only default, linear and llama3"))
            }
        }
    }
}

/// Radians per position, in f32 as `transformers` computes them.
///
/// # Errors
/// As [`check`].
pub(super) fn frequencies(
    head_width: usize,
    theta: f32,
    scaling: Scaling,
) -> Result<Vec<f32>, String> {
    let plain = |pair: usize| 1.0 / theta.powf((2 * pair) as f32 / head_width as f32);
    let frequencies: Vec<f32> = (0..head_width / 2).map(|pair| scaling.of(plain(pair))).collect();
    check(&frequencies)?;
    Ok(frequencies)
}

/// Checks that every pair turns: bases and factors beyond reason leave the range of f32.
///
/// # Errors
/// If a frequency is zero, negative or not finite.
pub(super) fn check(frequencies: &[f32]) -> Result<(), String> {
    let turns = |frequency: &f32| frequency.is_finite() && *frequency > 0.0;
    match frequencies.iter().position(|frequency| !turns(frequency)) {
        None => Ok(()),
        Some(pair) => Err(format!(
            "pair {pair} of a head turns by {} a position, expected more than 0 and finite",
            frequencies[pair]
        )),
    }
}

impl Scaling {
    fn of(self, frequency: f32) -> f32 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original } => {
                let turns = original / (TAU / frequency);
                if turns < low {
                    frequency / factor
                } else if turns > high {
                    frequency
                } else {
                    let share = (turns - low) / (high - low);
                    (1.0 - share) * frequency / factor + share * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frequencies_fall_and_scaling_only_slows(
            pairs in 1_usize..65,
            theta in 10.0_f32..1e6,
            factor in 1.0_f32..64.0,
            low in 0.5_f32..2.0,
            span in 0.5_f32..4.0,
        ) {
            let plain = frequencies(2 * pairs, theta, Scaling::None).unwrap();
            prop_assert_eq!((plain.len(), plain[0]), (pairs, 1.0));
            prop_assert!(plain.is_sorted_by(|a, b| a > b));
            let llama3 = Scaling::Llama3 { factor, low, high: low + span, original: 8192.0 };
            for scaling in [Scaling::Linear { factor }, llama3] {
                let scaled = frequencies(2 * pairs, theta, scaling).unwrap();
                for (scaled, plain) in scaled.iter().zip(&plain) {
                    prop_assert!(*scaled <= plain * 1.000_001);
                    prop_assert!(*scaled >= plain / factor * 0.999_999);
                }
            }
        }
    }

    #[test]
    fn frequencies_beyond_f32_are_refused() {
        let of = |theta, scaling| frequencies(64, theta, scaling);
        assert!(of(f32::MAX, Scaling::None).is_ok());
        assert!(
            of(f32::INFINITY, Scaling::None).unwrap_err().contains("pair 1 of a head turns by 0")
        );
        let linear = |theta, factor| of(theta, Scaling::Linear { factor });
        assert!(linear(1e30, 3e38).unwrap_err().contains("turns by 0"));
        assert!(linear(10_000.0, 1e-40).unwrap_err().contains("pair 0 of a head turns by inf"));
        let llama3 = Scaling::Llama3 { factor: 1e-44, low: 1.0, high: 4.0, original: 8192.0 };
        assert!(of(10_000.0, llama3).unwrap_err().contains("turns by inf"));
    }

    #[test]
    fn llama3_leaves_fast_frequencies_and_slows_slow_ones() {
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        assert_eq!(scaling.of(1.0), 1.0);
        assert_eq!(scaling.of(1e-5), 1e-5 / 8.0);
        // Two and a half turns within the original length are half way.
        let middle = 2.5 * TAU / 8192.0;
        let expected = middle * (0.5 / 8.0 + 0.5);
        assert!((scaling.of(middle) / expected - 1.0).abs() < 1e-5);
    }
}
