//! The device's loop over bare forward passes.

use std::time::Instant;

use mobillm_core::backbone::{ForwardContext, Tap, TokenBatch, Tokens};

use super::load::quietest;
use super::walk::{Rig, Setup, Walk};
use super::{median, spread};
use crate::Error;
use crate::figure::Figure;

const ROWS: usize = 240;
const ROUNDS: usize = 15;
const MOST_ROUNDS: usize = 20;

/// Seconds of one round.
struct Round {
    bare: f64,
    device: f64,
}

impl Round {
    /// How much longer the device took, in percent.
    fn more(&self) -> f64 {
        100.0 * (self.device / self.bare - 1.0)
    }
}

/// How much longer the device takes than its backbone alone.
pub fn figures(setup: &Setup) -> Result<Vec<Figure>, Error> {
    let walk = Walk::new(setup, &[format!("task.limit={ROWS}")])?;
    let rig = Rig::new(&walk)?;
    let batches = token_batches(&walk);
    let round = |number: usize| {
        // Whichever comes first has the machine of another moment; so they take turns.
        if number.is_multiple_of(2) {
            let bare = bare_seconds(&rig, &batches)?;
            Ok(Round { bare, device: device_seconds(&rig, &walk)? })
        } else {
            let device = device_seconds(&rig, &walk)?;
            Ok(Round { bare: bare_seconds(&rig, &batches)?, device })
        }
    };
    // Caches and buffers are warm before it counts.
    round(0)?;
    let (rounds, choice) = quietest(ROUNDS, MOST_ROUNDS, round)?;
    let of = |value: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(value).collect() };
    let more = of(Round::more);
    let taps = walk.assembly.taps.len();
    let note = format!(
        "forward passes with {taps} taps selected, cleared, nf4 and framed, waiting for the link left \
         out, over forward passes of the same {} micro-batches in the same session with an empty \
         sink; a stand-in acknowledges in the server's place; {:.2} s over {:.2} s; median of {choice} \
         ({})",
        batches.len(),
        median(of(|round| round.device)),
        median(of(|round| round.bare)),
        spread(&more),
    );
    Ok(vec![
        Figure::new("device loop over bare forward passes", median(more), "% more")
            .at_most(3.0)
            .note(note),
    ])
}

/// The micro-batches as the device pads them.
fn token_batches(walk: &Walk<'_>) -> Vec<TokenBatch> {
    let padding = walk.assembly.bundle.padding();
    let tokens = |rows: Vec<usize>| -> Vec<&Tokens> {
        rows.into_iter().map(|row| &walk.prepared.train.tokens[row]).collect()
    };
    walk.micro_batches().into_iter().map(|rows| TokenBatch::new(tokens(rows), padding)).collect()
}

fn bare_seconds(rig: &Rig<'_>, batches: &[TokenBatch]) -> Result<f64, Error> {
    let mut backbone = rig.backbone();
    let mut sink = |_: Tap<'_>| Ok(());
    let began = Instant::now();
    for batch in batches {
        backbone.forward(batch, &ForwardContext::default(), &mut sink)?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn device_seconds(rig: &Rig<'_>, walk: &Walk<'_>) -> Result<f64, Error> {
    let transport = walk.loaded.config.link.transport.build();
    let (device, server) = rig.block_on(async {
        let mut listener = transport.listen().await?;
        Ok((transport.connect().await?, listener.accept().await?))
    })?;
    Ok(rig.run(&*transport, device, server)?.device.forward_seconds)
}
