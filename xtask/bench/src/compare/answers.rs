//! How well both variants answer held-out messages.

use mobillm::run::summary::Summary;

use super::Compared;
use crate::Error;
use crate::figure::Figure;

/// Means over the seeds, each of which is in a note.
pub fn figures([mobillm, pae]: &[Compared<'_>; 2]) -> Result<[Figure; 3], Error> {
    let accuracy = |variant: &Compared<'_>| seeds(variant, |run| Some(run.eval.after));
    let difference = pae.mean("a difference", |of| of.difference)?;
    let figure = format!("accuracy, {} less {}", pae.name, mobillm.name);
    Ok([
        Figure::new(figure, 100.0 * difference, "points").at_least(-0.5).note(format!(
            "{}; {}",
            accuracy(pae),
            accuracy(mobillm)
        )),
        f1(mobillm)?,
        f1(pae)?,
    ])
}

fn f1(variant: &Compared<'_>) -> Result<Figure, Error> {
    let mean = variant.mean("an F1 of spam", |of| of.positive_f1)?;
    Ok(Figure::new(format!("F1 of spam, {}", variant.name), 100.0 * mean, "%")
        .at_least(94.0)
        .note(seeds(variant, |run| run.eval.positive_f1)))
}

/// A score of each seed, in percent.
fn seeds(variant: &Compared<'_>, score: fn(&Summary) -> Option<f64>) -> String {
    let shown = variant.runs.iter().map(|(seed, run)| match score(run) {
        Some(score) => format!("{:.2} (seed {seed})", 100.0 * score),
        None => format!("none (seed {seed})"),
    });
    format!("{}: {}", variant.name, shown.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::*;

    #[test]
    fn half_a_point_is_all_that_may_be_lost() {
        let comparison = made_up();
        let mut variants = Compared::both(&comparison).unwrap();
        let [accuracy, mobillm, pae] = figures(&variants).unwrap();
        assert_eq!(accuracy.met, Some(true));
        assert_eq!((mobillm.met, pae.met), (Some(true), Some(true)));
        let notes = [&accuracy.note, &pae.note].map(|note| note.matches("(seed ").count());
        assert_eq!(notes, [2 * variants[0].runs.len(), variants[1].runs.len()]);

        let mut worse = variants[1].figures.clone();
        worse.difference.as_mut().unwrap().mean = -0.0051;
        worse.positive_f1.as_mut().unwrap().mean = 0.9399;
        variants[1].figures = &worse;
        let met = figures(&variants).unwrap().map(|figure| figure.met.unwrap());
        assert_eq!(met, [false, true, false]);
    }
}
