//! The device: runs the frozen backbone forward, lets cleared taps go, evaluates what comes back.

mod held_out;
mod meter;
pub mod own;
pub mod predict;
mod prepare;
mod row_tokenizer;
mod session;
mod spill;
pub mod taps;
mod upload;

pub use held_out::{Evaluation, HeldOut};
pub use prepare::{Prepared, Tokenized, prepare, tokenize};
pub use row_tokenizer::RowTokenizer;
pub use session::{DeviceJob, Ended, GAVE_UP, train};
