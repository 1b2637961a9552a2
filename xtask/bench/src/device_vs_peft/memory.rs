//! Resident memory of the device's process, by `mobillm` as users call it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mobillm::run::summary::Summary;
use mobillm_core::backbone::Tokens;
use mobillm_report::{Comparison, Outcome};
use serde_json::json;
use tempfile::TempDir;

use super::child;
use super::model::THREADS;
use super::pytorch::Taken;
use crate::Error;
use crate::figure::Figure;
use crate::program::{self, Finished};

const MB: f64 = 1e6;
/// Rows of a run: four batches of the largest.
const ROWS: usize = 256;
/// Batch sizes and lengths whose corners are measured.
const BATCHES: [usize; 2] = [1, 64];
const LENGTHS: [usize; 2] = [32, 256];

/// A config over rows of made-up words, each longer than any length that is asked for.
pub struct Words {
    folder: TempDir,
}

impl Words {
    /// `rows` rows for the model `bundle`.
    pub fn new(bundle: &str, rows: usize) -> Result<Self, Error> {
        let folder = TempDir::new()?;
        let mut lines = String::new();
        for row in 0..rows {
            let words: Vec<String> = (0..300).map(|at| format!("{}", row * 7919 + at)).collect();
            let label = if row % 2 == 0 { "a" } else { "b" };
            let line = json!({ "text": words.join(" "), "label": label });
            writeln!(lines, "{line}")?;
        }
        fs::write(folder.path().join("words.jsonl"), lines)?;
        let config = format!(
            r#"schema = 1
            [task]
            name = "words"
            train = "words.jsonl"
            columns = {{ text = "text", label = "label" }}
            labels = ["a", "b"]
            [device]
            bundle = "{bundle}"
            backbone = {{ type = "onnxruntime", threads = {THREADS} }}
            selector = {{ type = "all" }}
            [training]
            epochs = 1
            "#
        );
        fs::write(folder.path().join("words.toml"), config)?;
        Ok(Self { folder })
    }

    /// The data.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("words.jsonl")
    }

    /// A run in batches of `batch` rows of `tokens` tokens.
    pub fn run(&self, batch: usize, tokens: usize) -> Result<Finished, Error> {
        let sets = [
            format!("training.batch={batch}"),
            format!("device.micro_batch={batch}"),
            format!("device.max_tokens={tokens}"),
        ];
        let config = self.folder.path().join("words.toml");
        program::compare(&[config], 1, &sets.each_ref().map(String::as_str))
    }
}

/// The one run of `comparison`.
fn summary(comparison: &Comparison) -> Result<&Summary, Error> {
    match comparison.variants.first().and_then(|variant| variant.runs.first()) {
        Some(run) => match &run.outcome {
            Outcome::Finished(summary) => Ok(summary),
            Outcome::Failed { reason } => Err(reason.as_str().into()),
        },
        None => Err("nothing was run".into()),
    }
}

/// Peak resident bytes of the device of `comparison`.
pub fn device_peak(comparison: &Comparison) -> Result<u64, Error> {
    let peak = summary(comparison)?.device.peak_rss_bytes;
    peak.ok_or_else(|| "the device did not tell its memory".into())
}

/// SmolLM2's memory against that of LoRA, which took `lora` on rows of up to 64 tokens.
pub fn figures(lora: &Taken) -> Result<Vec<Figure>, Error> {
    let words = Words::new("pull:smollm2-135m-instruct@int8", ROWS)?;
    let run = words.run(16, 64)?;
    let device = device_peak(&run.comparison)? as f64;
    let answering = predicts(&run, &words.file())? as f64;

    let mut corners = Vec::new();
    for batch in BATCHES {
        for tokens in LENGTHS {
            let run = words.run(batch, tokens)?;
            corners.push((batch, tokens, device_peak(&run.comparison)? as f64));
        }
    }
    let peaks = || corners.iter().map(|(_, _, peak)| *peak);
    let (least, most) = (peaks().fold(f64::INFINITY, f64::min), peaks().fold(0.0, f64::max));
    let shown: Vec<String> = corners
        .iter()
        .map(|(batch, tokens, peak)| format!("{batch} x {tokens}: {:.0} MB", peak / MB))
        .collect();

    let (peak, residue) = (lora.peak as f64, lora.after_load as f64);
    Ok(vec![
        Figure::new("peak memory, device over LoRA", device / peak, "times").at_most(0.125).note(
            format!(
                "resident, {:.0} over {:.0} MB, 16 rows of up to 64 tokens; the device sends all tokens \
                 of 31 taps",
                device / MB,
                peak / MB
            ),
        ),
        Figure::new("the same, LoRA's without what loading left", device / (peak - residue), "times")
            .at_most(1.0 / 3.0)
            .note(format!("{:.0} MB were resident when the model was loaded", residue / MB)),
        Figure::new("peak memory, device over `mobillm eval`", device / answering, "times")
            .at_most(1.1)
            .note(format!("{:.0} MB, the same rows", answering / MB)),
        Figure::new("peak memory over batch and tokens", 100.0 * (most / least - 1.0), "% more")
            .at_most(20.0)
            .note(shown.join(", ")),
    ])
}

/// Peak resident bytes of a process that answers the rows of `file` with the result of `run`.
fn predicts(run: &Finished, file: &Path) -> Result<u64, Error> {
    let variants = fs::read_dir(run.folder.path().join("runs"))?;
    let variant = variants.flatten().next().ok_or("the run has left no folder")?;
    let mut command = program::mobillm()?;
    command.arg("eval").arg(variant.path().join("seed-0/device")).arg(file);
    match child::run(&mut command, "", u64::MAX)? {
        child::Outcome::Ended(ended) => Ok(ended.peak),
        child::Outcome::TooLarge => Err("it has no limit".into()),
    }
}

/// Rows of `tokens` token ids below `vocabulary`, by a formula.
pub fn made_up_tokens(rows: usize, tokens: usize, vocabulary: usize) -> Vec<Tokens> {
    let id = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 7) % vocabulary;
    let row = |row: usize| Tokens {
        ids: (0..tokens).map(|at| id(row * tokens + at) as u32).collect(),
        segments: vec![0; tokens],
    };
    (0..rows).map(row).collect()
}
