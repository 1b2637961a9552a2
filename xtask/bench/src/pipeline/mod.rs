//! What the pipeline costs beside its parts, on MiniLM, the SMS messages and nf4, one epoch, one
//! thread for ONNX Runtime and one for the side network.
//!
//! * **Device loop** ([`device_loop`]): a device's work on its micro-batches (forward pass, all taps
//!   selected, cleared, quantized and framed) over forward passes of the same micro-batches in the
//!   same session with a sink that does nothing. A stand-in takes the server's place
//!   ([`walk::Rig`]), so that the device alone is measured.
//! * **Overlap** ([`overlap`]): the wall time of a whole run over the sum of the device's and the
//!   server's seconds, with the rank of the side network tuned until both are equally busy, and the
//!   same for the run in which device and server take turns.
//! * **Bytes** ([`bytes`]): bytes up, as a relay between the sockets counts them, over the formula of
//!   the egress manifest.
//!
//! What is compared runs in turns within one process, several times: a figure is the median over the
//! rounds. Others may use the machine too, and where two cores are needed at once nothing makes up for
//! one that is taken: rounds that others disturbed are measured again, for a while ([`load`]).

mod bytes;
mod device_loop;
mod load;
mod overlap;
mod walk;

pub(crate) use load::quietest;
pub(crate) use walk::{Setup, Walk, unobserved};

use crate::Error;
use crate::figure::Figure;

/// All of them.
pub fn run() -> Result<Vec<Figure>, Error> {
    let setup = Setup::new()?;
    let mut figures = device_loop::figures(&setup)?;
    figures.extend(overlap::figures(&setup)?);
    figures.extend(bytes::figures(&setup)?);
    Ok(figures)
}

/// The middle of `values`, of which there is one at least.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The smallest and the largest of `values`, to two places.
fn spread(values: &[f64]) -> String {
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{smallest:.2} to {largest:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_and_a_spread_has_both_ends() {
        assert_eq!(median(vec![3.0, 1.0, 9.0]), 3.0);
        assert_eq!(spread(&[3.0, 1.0, 9.0]), "1.00 to 9.00");
    }
}
