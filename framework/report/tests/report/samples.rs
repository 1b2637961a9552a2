//! Comparisons with figures that could be true.

use mobillm::run::summary::Summary;
use mobillm_report::{Comparison, Machine, Outcome, SeedRun, Target, Variant};
use serde_json::{Value, json};

/// How a variant goes.
#[derive(Clone, Copy)]
pub struct Plan {
    pub name: &'static str,
    pub selector: &'static str,
    /// Its own part of the final score, in points.
    pub points: f64,
    pub epochs: usize,
    /// Whether the server keeps the activations, so that only the first epoch needs the device.
    pub keeps: bool,
    pub bytes_per_row: u64,
    pub peak_bytes: Option<u64>,
    pub emulated: bool,
}

pub const MOBILLM: Plan = Plan {
    name: "mobillm",
    selector: "all",
    points: 0.0,
    epochs: 6,
    keeps: false,
    bytes_per_row: 32_287,
    peak_bytes: Some(412_000_000),
    emulated: false,
};

pub const PAE: Plan = Plan {
    name: "pae-mobillm",
    selector: "loss-tokens",
    points: -0.06,
    keeps: true,
    bytes_per_row: 1_301,
    peak_bytes: Some(371_000_000),
    ..MOBILLM
};

const ROWS: u64 = 3627;
const HELD_OUT: u64 = 907;

/// A figure between 0 and 1 that follows from `seed` and `place`.
fn noise(seed: u64, place: u64) -> f64 {
    let mixed = (seed * 31 + place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f64 / (1u64 << 24) as f64
}

/// One epoch of `plan`: seconds, the device's seconds, bytes up, accuracy.
fn epoch(plan: &Plan, seed: u64, epoch: usize) -> (f64, f64, u64, f64) {
    let first = epoch == 0;
    let noise = |place| noise(seed, place + 10 * epoch as u64);
    let device = if first || !plan.keeps { 10.4 + noise(1) } else { 0.0 };
    let bytes = if first || !plan.keeps { plan.bytes_per_row * ROWS + 527 } else { 96 };
    let link = if plan.emulated { bytes as f64 * 8.0 / 20e6 } else { 0.0 };
    let seconds = (device + 0.8).max(link) + 0.9 * noise(2);
    let progress = 1.0 - 0.45_f64.powi(epoch as i32 + 1);
    let share = 0.972 + 0.021 * progress + plan.points / 100.0 + 0.004 * (noise(3) - 0.5);
    (seconds, device, bytes, (share * HELD_OUT as f64).round() / HELD_OUT as f64)
}

/// The summary of one run.
pub fn summary(plan: &Plan, seed: u64) -> Summary {
    let epochs: Vec<_> = (0..plan.epochs).map(|index| epoch(plan, seed, index)).collect();
    let scores = |accuracy: f64| {
        json!({"kind": "classification", "samples": HELD_OUT, "accuracy": accuracy,
            "macro_f1": accuracy - 0.01, "labels": [], "confusion": []})
    };
    let wall: f64 = epochs.iter().map(|epoch| epoch.0).sum();
    let device: f64 = epochs.iter().map(|epoch| epoch.1).sum();
    let up: u64 = epochs.iter().map(|epoch| epoch.2).sum();
    let after = epochs.last().unwrap().3;
    let forwarded = if plan.keeps { ROWS } else { ROWS * plan.epochs as u64 };
    let emulated = plan.emulated.then(|| {
        json!({"up_seconds": up as f64 * 8.0 / 20e6, "down_seconds": 2.4, "lost_packets": up / 150_000})
    });
    let peak = plan.peak_bytes.map(|bytes| bytes + (9e6 * noise(seed, 4)) as u64);
    let json = json!({
        "format": 2,
        "variant": plan.name,
        "eval": {"metric": "accuracy", "before": 0.8798235, "after": after,
            "macro_f1": after - 0.01, "positive_f1": after - 0.025},
        "device": {"peak_rss_bytes": peak, "forward_seconds": device,
            "eval_seconds": 3.4 + noise(seed, 5), "samples_forwarded": forwarded,
            "held_out_forwarded": HELD_OUT},
        "link": {"bytes_up": up + 1204, "bytes_down": 1_204_097 * plan.epochs,
            "bytes_up_per_sample": (up + 1204) as f64 / forwarded as f64, "emulated": emulated},
        "server": {"train_seconds": 7.6 * plan.epochs as f64 + noise(seed, 6), "steps": 227 * plan.epochs},
        "epochs": epochs.iter().map(|&(seconds, device_seconds, bytes_up, accuracy)| json!({
            "seconds": seconds, "device_seconds": device_seconds, "bytes_up": bytes_up,
            "train_loss": 0.1, "eval": scores(accuracy),
        })).collect::<Vec<Value>>(),
        "wall_seconds": wall + 4.7,
    });
    serde_json::from_value(json).unwrap()
}

/// The variant `plan` with a finished run of each seed.
pub fn variant(plan: &Plan, seeds: &[u64]) -> Variant {
    let run =
        |&seed: &u64| SeedRun { seed, outcome: Outcome::Finished(Box::new(summary(plan, seed))) };
    let server = match plan.keeps {
        true => {
            json!({"side_network": {"type": "candle"}, "store": {"type": "disk", "bytes": 1u64 << 30}})
        }
        false => json!({"side_network": {"type": "candle"}}),
    };
    let config = json!({
        "schema": 1,
        "task": {"name": "sms-spam", "labels": ["ham", "spam"], "positive": "spam"},
        "device": {"selector": {"type": plan.selector}, "quantizer": {"type": "nf4", "block": 64}},
        "server": server,
        "training": {"epochs": plan.epochs, "batch": 16},
    });
    Variant { name: plan.name.to_owned(), config, runs: seeds.iter().map(run).collect() }
}

/// A run that failed.
pub fn failed(seed: u64, reason: &str) -> SeedRun {
    SeedRun { seed, outcome: Outcome::Failed { reason: reason.to_owned() } }
}

/// The same machine everywhere.
pub fn machine() -> Machine {
    Machine { cores: 2, os: "linux".into(), cpu: "Fictional CPU @ 2.00GHz".into() }
}

/// Both papers' variants over `seeds`.
pub fn both(seeds: &[u64]) -> Comparison {
    let variants = vec![variant(&MOBILLM, seeds), variant(&PAE, seeds)];
    Comparison::new(variants, Target::default(), machine())
}
