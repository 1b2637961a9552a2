//! Encoding and decoding rows, relative to copying the same f32 values.
//!
//! One thread; the trait path that the device and the server take, with buffers used again. A round
//! measures the copy, the encoding and the decoding one after the other, so that all three see the
//! same machine; a figure is the ratio of the medians over the rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, Cleared, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release,
};
use mobillm_core::quantizer::{Payload, Quantizer, QuantizerConfig, decode, encode};
use mobillm_quantizers::{Fp4Config, Fp16Config, Int8Config, Nf4Config, NoneConfig};

use crate::Error;
use crate::figure::Figure;

/// Values of a row: that of models of 0.3 billion parameters.
const HIDDEN: usize = 1024;

/// A quantizer and what it is to reach at 1 MB.
struct Case {
    name: &'static str,
    quantizer: Box<dyn Quantizer>,
    encode_goal: Option<f64>,
    decode_goal: Option<f64>,
}

/// How much is encoded, and how often: `rounds` of `repeats` calls.
struct Size {
    name: &'static str,
    rows: usize,
    rounds: usize,
    repeats: u32,
    /// Whether the goals are about this size.
    goals: bool,
}

const SIZES: [Size; 2] = [
    Size { name: "1 MB", rows: 256, rounds: 101, repeats: 10, goals: true },
    Size { name: "64 MB", rows: 16384, rounds: 11, repeats: 1, goals: false },
];

fn cases() -> Vec<Case> {
    let case = |name, config: &dyn QuantizerConfig, encode_goal, decode_goal| Case {
        name,
        quantizer: config.build(),
        encode_goal,
        decode_goal,
    };
    let variant = |name, config: &dyn QuantizerConfig| case(name, config, None, None);
    vec![
        case("none", &NoneConfig {}, None, Some(0.5)),
        case("fp16", &Fp16Config {}, Some(0.5), Some(0.5)),
        case("int8", &Int8Config::default(), Some(0.5), Some(0.5)),
        case("nf4", &Nf4Config::default(), Some(0.25), Some(0.5)),
        case("fp4", &Fp4Config::default(), Some(0.25), Some(0.5)),
        variant("nf4, block 32", &Nf4Config { block: 32, ..Nf4Config::default() }),
        variant("nf4, block 256", &Nf4Config { block: 256, ..Nf4Config::default() }),
        variant(
            "nf4, double quantization",
            &Nf4Config { double_quantization: true, ..Nf4Config::default() },
        ),
        variant(
            "int8, double quantization",
            &Int8Config { double_quantization: true, ..Int8Config::default() },
        ),
    ]
}

/// All quantizers at all sizes.
pub fn run() -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    for size in &SIZES {
        let cleared = cleared(size.rows)?;
        for case in cases() {
            let medians = measure(&case, size, &cleared)?;
            let figure = |what: &str, time: Duration, goal: Option<f64>| {
                let name = format!("{}: {what} {}", case.name, size.name);
                let ratio = medians.copy.as_secs_f64() / time.as_secs_f64();
                let figure = Figure::new(name, ratio, "of copy").note(format!(
                    "{}; copy {}; {} bytes a row",
                    throughput(size, time),
                    throughput(size, medians.copy),
                    case.quantizer.row_bytes(HIDDEN)
                ));
                match goal.filter(|_| size.goals) {
                    Some(goal) => figure.at_least(goal),
                    None => figure,
                }
            };
            figures.push(figure("encode", medians.encode, case.encode_goal));
            figures.push(figure("decode", medians.decode, case.decode_goal));
        }
    }
    Ok(figures)
}

fn throughput(size: &Size, time: Duration) -> String {
    let bytes = size.rows * HIDDEN * size_of::<f32>();
    format!("{:.1} GB/s", bytes as f64 / time.as_secs_f64() / 1e9)
}

/// Median times of one call.
struct Medians {
    copy: Duration,
    encode: Duration,
    decode: Duration,
}

fn measure(case: &Case, size: &Size, cleared: &Cleared) -> Result<Medians, Error> {
    let quantizer = &*case.quantizer;
    let view = cleared.rows();
    let values = view.as_slice().ok_or("rows are not contiguous")?;
    let (mut payload, mut decoded, mut copied) = (Vec::new(), Vec::new(), vec![0.0; values.len()]);
    let (mut copies, mut encodes, mut decodes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=size.rounds {
        let copy = time(size.repeats, || {
            copied.copy_from_slice(black_box(values));
            black_box(&mut copied);
            Ok(())
        })?;
        let encode = time(size.repeats, || {
            payload.clear();
            encode(quantizer, black_box(cleared), &mut payload)?;
            black_box(&mut payload);
            Ok(())
        })?;
        let decode = time(size.repeats, || {
            decoded.clear();
            let payload = Payload::parse(black_box(&payload), quantizer, view.dim())?;
            decode(quantizer, &payload, &mut decoded)?;
            black_box(&mut decoded);
            Ok(())
        })?;
        // The first round warms caches and buffers.
        if round > 0 {
            copies.push(copy);
            encodes.push(encode);
            decodes.push(decode);
        }
    }
    Ok(Medians { copy: median(copies), encode: median(encodes), decode: median(decodes) })
}

/// Time of one of `repeats` calls.
fn time(repeats: u32, mut call: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let start = Instant::now();
    for _ in 0..repeats {
        call()?;
    }
    Ok(start.elapsed() / repeats)
}

/// The one in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Lets everything pass: what is measured comes after it.
struct Open;

impl PrivacyPolicy for Open {
    fn info(&self) -> PolicyInfo {
        PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".into() }
    }
}

/// Rows of bell-shaped values with a few dominant channels, as hidden states have them.
pub fn cleared(rows: usize) -> Result<Cleared, Error> {
    let mut state = 0x9e37_79b9_u32;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    let values = (0..rows * HIDDEN)
        .map(|i| {
            let bell = uniform() + uniform() + uniform() + uniform();
            if i % HIDDEN % 300 == 7 { bell * 50.0 } else { bell }
        })
        .collect();
    let selected = Selected::new(1, Layout::from_counts([rows]), HIDDEN, values)?;
    let context = ReleaseContext { samples: &[], purpose: Purpose::Train };
    Ok(release(&mut Open, &context, selected)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_measured_on_what_it_decodes() {
        let size = Size { name: "tiny", rows: 3, rounds: 3, repeats: 2, goals: true };
        let cleared = cleared(size.rows).unwrap();
        for case in cases() {
            let medians = measure(&case, &size, &cleared).unwrap();
            assert!(medians.encode > Duration::ZERO && medians.decode > Duration::ZERO);
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([3, 1, 9].map(Duration::from_secs).into()), Duration::from_secs(3));
    }
}
