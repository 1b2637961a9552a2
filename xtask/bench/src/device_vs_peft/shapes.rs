//! Larger models, as far as memory goes: OPT's shapes with random weights, made here.

use mobillm_bundle::fixture::RandomOpt;
use mobillm_weights::WeightFormat;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::memory::{Words, device_peak, made_up_tokens};
use super::pytorch::{Mode, PyTorch};
use super::venv;
use crate::Error;
use crate::figure::Figure;

const GB: f64 = 1e9;
/// Rows of a batch.
const BATCH: usize = 16;
/// Tokens of a row, of the smaller and of the larger model.
const TOKENS: [usize; 2] = [256, 32];
/// What LoRA may have before it is stopped.
const MOST: u64 = 20_000_000_000;
/// The rows of one batch, and a fifth as many held out.
const ROWS: usize = BATCH + BATCH / 4;

/// OPT-1.3B beside LoRA, and OPT-6.7B.
pub fn figures() -> Result<Vec<Figure>, Error> {
    let small = RandomOpt::opt_1_3b(WeightFormat::Q4);
    let device = device(&small, TOKENS[0])? as f64;
    let (lora, figure) = (lora(&small)?, "peak memory of LoRA, OPT-1.3B's shape");
    let beside = match lora {
        Some(peak) => Figure::new(figure, peak as f64 / GB, "GB"),
        None => {
            let most = format!("does not fit in {:.0} GB", MOST as f64 / GB);
            Figure::new(figure, MOST as f64 / GB, "GB or more").note(most)
        }
    };
    let large = self::device(&RandomOpt::opt_6_7b(WeightFormat::Q4), TOKENS[1])? as f64;
    let note =
        |tokens: usize| format!("q4, random weights, {BATCH} x {tokens} tokens, all taps, nf4");
    Ok(vec![
        Figure::new("peak memory of the device, OPT-1.3B's shape", device / GB, "GB")
            .at_most(1.8)
            .note(note(TOKENS[0])),
        beside,
        Figure::new("peak memory of the device, OPT-6.7B's shape", large / GB, "GB")
            .at_most(24.0)
            .note(note(TOKENS[1])),
    ])
}

/// Peak resident bytes of a device that sends one batch of rows of `tokens` tokens.
fn device(opt: &RandomOpt, tokens: usize) -> Result<u64, Error> {
    eprintln!("making {opt:?}");
    let folder = TempDir::new()?;
    let bundle = folder.path().join("bundle");
    opt.bundle(&bundle)?;
    let words = Words::new(&bundle.display().to_string(), ROWS)?;
    device_peak(&words.run(BATCH, tokens)?.comparison)
}

/// Peak resident bytes of a step of LoRA on the same shape; `None` if it is more than [`MOST`].
fn lora(opt: &RandomOpt) -> Result<Option<u64>, Error> {
    let rows = made_up_tokens(BATCH, TOKENS[0], RandomOpt::VOCABULARY);
    let pytorch = PyTorch {
        python: venv::python()?,
        model: config(opt),
        labels: vec![5, 6],
        batches: vec![PyTorch::batch(&rows.iter().collect::<Vec<_>>(), 1)],
    };
    Ok(pytorch.run(Mode::Lora, false, 0, MOST)?.map(|taken| taken.peak))
}

/// What `transformers` makes the same shape of.
fn config(opt: &RandomOpt) -> Value {
    json!({ "opt": {
        "vocab_size": RandomOpt::VOCABULARY,
        "hidden_size": opt.hidden,
        "word_embed_proj_dim": opt.hidden,
        "num_hidden_layers": opt.layers,
        "ffn_dim": 4 * opt.hidden,
        "num_attention_heads": opt.heads,
        "max_position_embeddings": RandomOpt::MAX_TOKENS,
    }})
}
