//! The side network in libtorch, in a binary that is built with it.

use crate::setup::{Setup, lines};

#[test]
fn a_run_with_libtorch_learns_what_one_with_candle_does() {
    let setup = Setup::new();
    setup.succeeds(&["run", "toy.toml", "--out", "run"]);
    let network = "server.side_network={type=\"libtorch\", \
                   architecture={type=\"parallel-adapter\", rank=8}}";
    setup.succeeds(&["run", "toy.toml", "--out", "torch", "--set", network]);
    let losses = |out: &str| -> Vec<f64> {
        let lines = lines(&setup.path(out).join("metrics.jsonl"));
        lines.iter().map(|line| line["loss"].as_f64().unwrap()).collect()
    };
    let (candle, torch) = (losses("run"), losses("torch"));
    assert_eq!(candle.len(), torch.len());
    for (step, (candle, torch)) in candle.iter().zip(&torch).enumerate() {
        let difference = (candle - torch).abs() / candle.abs().max(1e-3);
        assert!(difference < 1e-2, "step {step}: candle {candle}, libtorch {torch}");
    }
    // The device predicts with candle what libtorch trained.
    let answer = setup.json(&["predict", "torch", "the good tap", "--json"]);
    assert!(answer["label"].is_string(), "{answer}");
}
