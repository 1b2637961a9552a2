//! A device with a language model against PyTorch and PEFT on the same machine, two threads each: what
//! the method stands on is that whoever can run a model can fine-tune it.
//!
//! * **Speed** ([`speed`]): tokens per second of forward passes with all taps selected and quantized,
//!   against PyTorch's forward pass and a step of LoRA, the same rows in the same batches.
//! * **Memory** ([`memory`]): peak resident memory of the device's process, against LoRA's, against a
//!   process that only predicts, and over the sizes of batches.
//! * **Answers** ([`answers`]): SST-2, where it is to be had.
//! * **Shapes** ([`shapes`]): OPT-1.3B and OPT-6.7B with random weights in 4 bits.
//!
//! PyTorch runs in a virtual environment of this benchmark's own ([`venv`]), one mode in one process,
//! and is called as its users call it ([`pytorch`]).

mod answers;
mod child;
mod memory;
mod model;
mod pytorch;
mod shapes;
mod speed;
mod venv;

use mobillm_weights::WeightFormat;

use crate::Error;
use crate::figure::{Figure, table};

/// All of them.
pub fn run() -> Result<Vec<Figure>, Error> {
    let model = model::Model::new(&[WeightFormat::Int8, WeightFormat::F32])?;
    let (mut figures, lora) = speed::figures(&model)?;
    show(&figures);
    let rest: [&dyn Fn() -> Result<Vec<Figure>, Error>; 3] =
        [&|| memory::figures(&lora), &|| answers::figures(&model), &shapes::figures];
    for part in rest {
        let part = part()?;
        show(&part);
        figures.extend(part);
    }
    Ok(figures)
}

/// What is known already, half an hour before the end.
fn show(figures: &[Figure]) {
    eprintln!("{}", table(figures));
}
