//! MobiLLM and PAE MobiLLM on the SMS messages, by `mobillm compare` as users call it: device and server
//! in processes of their own, the same epochs for both.
//!
//! * **Bytes** ([`bytes`]): what went up, against the egress manifest of the configs that were run, and
//!   what PAE MobiLLM saves and when.
//! * **Answers** ([`answers`]): accuracy and F1, means over the seeds.
//! * **Slow link** ([`slow_link`]): a comparison of its own, one seed over an emulated link, for the
//!   seconds until both answer equally well.

mod answers;
mod bytes;
mod slow_link;

use mobillm::run::summary::Summary;
use mobillm_report::{Comparison, Outcome, Statistic, VariantFigures};
use serde_json::Value;

use crate::Error;
use crate::figure::Figure;
use crate::pipeline::Setup;
use crate::program;

/// Of both variants, everywhere.
const EPOCHS: u64 = 6;
const CONFIGS: [&str; 2] = ["examples/configs/mobillm.toml", "examples/configs/pae-mobillm.toml"];

/// All of them.
pub fn run() -> Result<Vec<Figure>, Error> {
    let setup = Setup::new()?;
    let comparison = papers(3, &[])?;
    let variants = Compared::both(&comparison)?;
    let mut figures = bytes::figures(&setup, &variants)?;
    figures.extend(answers::figures(&variants)?);
    figures.push(slow_link::measure()?);
    Ok(figures)
}

/// Compares both papers with `seeds` seeds, changed by `sets`.
fn papers(seeds: u64, sets: &[&str]) -> Result<Comparison, Error> {
    let epochs = format!("training.epochs={EPOCHS}");
    let sets = [&[epochs.as_str()], sets].concat();
    Ok(program::compare(&CONFIGS, seeds, &sets)?.comparison)
}

/// A variant all of whose runs have finished.
struct Compared<'a> {
    name: &'a str,
    config: &'a Value,
    figures: &'a VariantFigures,
    /// Each with its seed.
    runs: Vec<(u64, &'a Summary)>,
}

impl<'a> Compared<'a> {
    /// MobiLLM and PAE MobiLLM.
    fn both(comparison: &'a Comparison) -> Result<[Self; 2], Error> {
        let figures = &comparison.figures.variants;
        let variants = comparison.variants.iter().zip(figures).map(|(variant, figures)| {
            let runs = variant.runs.iter().map(|run| match &run.outcome {
                Outcome::Finished(summary) => Ok((run.seed, &**summary)),
                Outcome::Failed { reason } => {
                    Err(format!("{}, seed {}: {reason}", variant.name, run.seed))
                }
            });
            let runs = runs.collect::<Result<_, _>>()?;
            Ok(Self { name: &variant.name, config: &variant.config, figures, runs })
        });
        let variants: Vec<Self> = variants.collect::<Result<_, Error>>()?;
        let number = variants.len();
        variants.try_into().map_err(|_| format!("two variants were run, not {number}").into())
    }

    /// The mean of a figure, which is called `what`.
    fn mean(
        &self,
        what: &str,
        figure: fn(&VariantFigures) -> Option<Statistic>,
    ) -> Result<f64, Error> {
        let statistic = figure(self.figures);
        Ok(statistic.ok_or_else(|| format!("no run of {} has {what}", self.name))?.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two seeds of each variant; their figures are made up.
    pub(super) fn made_up() -> Comparison {
        Comparison::read("../../framework/report/fixtures/compare-v1.json".as_ref()).unwrap()
    }

    #[test]
    fn a_run_that_failed_leaves_nothing_to_compare() {
        let mut comparison = made_up();
        let [mobillm, pae] = Compared::both(&comparison).unwrap();
        assert_eq!((mobillm.name, pae.name), ("mobillm", "pae-mobillm"));
        assert!(mobillm.mean("a score", |of| of.score).unwrap() > 0.9);
        let error = mobillm.mean("a difference", |of| of.difference).unwrap_err();
        assert_eq!(error.to_string(), "no run of mobillm has a difference");

        let reason = "device: no room".to_owned();
        comparison.variants[1].runs[0].outcome = Outcome::Failed { reason };
        let error = Compared::both(&comparison).err().unwrap().to_string();
        assert!(error.starts_with("pae-mobillm, seed ") && error.ends_with("no room"), "{error}");
        comparison.variants.pop();
        let error = Compared::both(&comparison).err().unwrap().to_string();
        assert_eq!(error, "two variants were run, not 1");
    }
}
