//! `compare`: variants on the same work, each run with device and server in processes of their own.
//!
//! ```text
//! configs --> Variant       loaded, checked, of the same work as the first
//!                |  for each seed, each variant in turn
//!             pair::run     two child processes (Half) of this very program, one run at a time
//!                |
//!             Matrix        what has come of which run --> compare.json, report.html
//! ```
//!
//! What is kept stands in `OUT/runs/VARIANT-FINGERPRINT/seed-SEED`: `device` and `server` are the
//! folders that the two commands of these names write, beside them is what the processes have said. The
//! fingerprint is of config, data, model, loaded libraries, machine and version of mobillm: what is changed is another run.

mod half;
mod interrupts;
mod matrix;
mod pair;
mod variant;

pub(crate) use interrupts::Interrupts;
pub(crate) use matrix::Matrix;
pub(crate) use variant::variants;
