//! The other side: PyTorch and PEFT, one mode in one process.

use std::path::{Path, PathBuf};
use std::process::Command;

use mobillm_core::backbone::Tokens;
use serde::Deserialize;
use serde_json::{Value, json};

use super::child::{Outcome, run};
use super::model::THREADS;
use crate::Error;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/device_vs_peft/pytorch.py");

/// What a process computes with each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A forward pass in single precision.
    Forward,
    /// The same in bfloat16.
    ForwardBf16,
    /// A step of LoRA, rank 8 on queries and values.
    Lora,
    /// A step that moves all weights.
    Full,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ForwardBf16 => "forward-bf16",
            Self::Lora => "lora",
            Self::Full => "full",
        }
    }
}

/// What a process took.
#[derive(Debug, Clone, Deserialize)]
pub struct Taken {
    /// Seconds of each round over all batches.
    pub seconds: Vec<f64>,
    /// Resident bytes when the model was loaded.
    pub after_load: u64,
    /// The largest number of resident bytes.
    pub peak: u64,
}

impl Taken {
    /// Seconds of the quickest round.
    pub fn quickest(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// PyTorch with a model and batches.
pub struct PyTorch {
    /// The interpreter of the virtual environment.
    pub python: PathBuf,
    /// What it loads.
    pub model: Value,
    /// The label words.
    pub labels: Vec<u32>,
    /// What it computes with.
    pub batches: Vec<Value>,
}

impl PyTorch {
    /// The model in the GGUF file `path`.
    pub fn gguf(path: &Path) -> Value {
        json!({ "gguf": path })
    }

    /// Rows that are padded on the right to the longest among them, with token `padding`.
    pub fn batch(rows: &[&Tokens], padding: u32) -> Value {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let padded = |row: &&Tokens| {
            let mut ids = row.ids.clone();
            ids.resize(longest, padding);
            ids
        };
        json!({
            "ids": rows.iter().map(padded).collect::<Vec<_>>(),
            "lengths": rows.iter().map(|row| row.ids.len()).collect::<Vec<_>>(),
            "classes": (0..rows.len()).map(|at| at % 2).collect::<Vec<_>>(),
        })
    }

    /// Runs `mode` over all batches `rounds` times, in a process that may have `most` bytes; `lean`: only
    /// the label words are scored. `None` if that is too little.
    pub fn run(
        &self,
        mode: Mode,
        lean: bool,
        rounds: usize,
        most: u64,
    ) -> Result<Option<Taken>, Error> {
        let request = json!({
            "mode": mode.name(),
            "lean": lean,
            "model": self.model,
            "threads": THREADS,
            "rounds": rounds,
            "labels": self.labels,
            "batches": self.batches,
        });
        let lean = if lean { ", lean" } else { "" };
        eprintln!("PyTorch: {}{lean}", mode.name());
        let mut command = Command::new(&self.python);
        command.arg(SCRIPT).env("OMP_NUM_THREADS", THREADS.to_string());
        match run(&mut command, &request.to_string(), most)? {
            Outcome::TooLarge => Ok(None),
            Outcome::Ended(ended) => {
                let line = ended.output.lines().last().unwrap_or_default();
                let taken = serde_json::from_str(line);
                Ok(Some(taken.map_err(|error| format!("PyTorch said `{line}`: {error}"))?))
            }
        }
    }
}
