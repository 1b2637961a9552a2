//! What went up, and what PAE MobiLLM does not send again.

use mobillm::config::Config;
use mobillm::egress::Counts;
use mobillm::run::summary::EpochSummary;

use super::{Compared, EPOCHS};
use crate::Error;
use crate::figure::Figure;
use crate::pipeline::{Setup, Walk};

/// Against the formula, against each other, and after the first pass.
pub fn figures(setup: &Setup, [mobillm, pae]: &[Compared<'_>; 2]) -> Result<Vec<Figure>, Error> {
    let walks = [walk(setup, mobillm)?, walk(setup, pae)?];
    let data = &walks[1].prepared;
    let tokens = data.report.train_tokens.mean;
    let mut figures = vec![
        per_sample(mobillm, &walks[0])?,
        per_sample(pae, &walks[1])?,
        share(mobillm, pae, tokens)?,
    ];
    let rows = [data.train.tokens.len() as u64, data.held_out.tokens.len() as u64];
    figures.extend(after_first_pass(pae, rows)?);
    Ok(figures)
}

/// The config that was run, with its model and data.
fn walk<'a>(setup: &'a Setup, variant: &Compared<'_>) -> Result<Walk<'a>, Error> {
    let toml = toml::to_string(variant.config)?;
    let loaded = Config::from_toml(&toml, ".".as_ref(), &[], &setup.environment.registry)?;
    Walk::of(setup, loaded)
}

fn per_sample(variant: &Compared<'_>, walk: &Walk<'_>) -> Result<Figure, Error> {
    let (expected, counts) = walk.formula();
    let Counts { micro_batches, samples, rows, steps } = counts;
    let expected = expected as f64 / samples as f64;
    let up = variant.mean("bytes up", |of| of.bytes_up_per_sample)?;
    let figure = format!("bytes up per sample, {}", variant.name);
    let note = format!(
        "{up:.1} bytes; {expected:.1} by the egress manifest for {samples} samples of {rows} rows a \
         layer in {micro_batches} micro-batches and {steps} steps"
    );
    Ok(Figure::new(figure, 100.0 * up / expected, "% of the formula")
        .within(97.0, 103.0)
        .note(note))
}

/// PAE MobiLLM sends one row where MobiLLM sends the mean number of `tokens` in every epoch.
fn share(mobillm: &Compared<'_>, pae: &Compared<'_>, tokens: f64) -> Result<Figure, Error> {
    let all = mobillm.mean("bytes up", |of| of.bytes_up)?;
    let once = pae.mean("bytes up", |of| of.bytes_up)?;
    let figure = format!("bytes up, {} over {}", pae.name, mobillm.name);
    let note = format!(
        "{:.2} MB of {:.2} MB are 1/{:.1}; {EPOCHS} epochs of {tokens:.2} tokens a sample",
        once / 1e6,
        all / 1e6,
        all / once
    );
    let percent = 100.0 * once / all * EPOCHS as f64 * tokens;
    Ok(Figure::new(figure, percent, "% of 1/(epochs x tokens)").within(97.0, 103.0).note(note))
}

/// What the device did of its `[training, held-out]` rows more than once, over all runs the most.
fn after_first_pass(pae: &Compared<'_>, rows: [u64; 2]) -> Result<[Figure; 3], Error> {
    let [train, held_out] = rows;
    let (mut again, mut up, mut unbooked, mut held_out_forwarded) = (0, 0, 0, 0);
    for (seed, run) in &pae.runs {
        let forwarded = run.device.samples_forwarded;
        let more = forwarded.checked_sub(train).ok_or_else(|| {
            format!("{}, seed {seed}: {forwarded} of {train} rows went forward", pae.name)
        })?;
        let booked = |epochs: &[EpochSummary]| epochs.iter().map(|of| of.bytes_up).sum::<u64>();
        again = again.max(more);
        up = up.max(run.epochs.get(1..).map_or(0, booked));
        unbooked = unbooked.max(run.link.bytes_up.saturating_sub(booked(&run.epochs)));
        held_out_forwarded = held_out_forwarded.max(run.device.held_out_forwarded);
    }
    let epochs = format!("in epochs 2 to {EPOCHS}");
    Ok([
        Figure::count(format!("training rows forwarded {epochs}, {}", pae.name), again, "rows")
            .at_most(0.0)
            .note(format!("{train} in the first; of all seeds the most")),
        Figure::count(format!("bytes up {epochs}, {}", pae.name), up, "bytes").at_most(0.0).note(
            format!("the frames that begin and end the session are of no epoch: {unbooked} bytes"),
        ),
        Figure::count(format!("held-out rows forwarded, {}", pae.name), held_out_forwarded, "rows")
            .at_most(held_out as f64)
            .note(format!("{held_out} rows, each once before training; nothing of them goes up")),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::*;

    #[test]
    fn one_row_an_epoch_too_many_is_a_miss() {
        let comparison = made_up();
        let [mobillm, pae] = Compared::both(&comparison).unwrap();
        let tokens = mobillm.figures.bytes_up.unwrap().mean
            / pae.figures.bytes_up.unwrap().mean
            / EPOCHS as f64;
        assert_eq!(share(&mobillm, &pae, tokens).unwrap().met, Some(true));
        assert_eq!(share(&mobillm, &pae, 1.04 * tokens).unwrap().met, Some(false));

        let forwarded = pae.runs[0].1.device.samples_forwarded;
        let held_out = pae.runs[0].1.device.held_out_forwarded;
        let met = |rows| after_first_pass(&pae, rows).unwrap().map(|figure| figure.met.unwrap());
        // Each of the later epochs of the made-up runs asks for its steps in 96 bytes.
        assert_eq!(met([forwarded, held_out]), [true, false, true]);
        assert_eq!(met([forwarded - 1, held_out - 1]), [false, false, false]);
        assert!(after_first_pass(&pae, [forwarded + 1, held_out]).is_err());
    }
}
