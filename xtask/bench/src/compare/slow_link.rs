//! How long it takes both variants over a slow link to answer equally well.

use mobillm_report::Comparison;

use super::{Compared, papers};
use crate::Error;
use crate::figure::Figure;
use crate::pipeline::quietest;

/// The link. It really waits. What is inside, `mobillm compare` chooses.
const TRANSPORT: &str = "link.transport={type=\"link-emulator\", up_mbit_per_s=20, \
                             down_mbit_per_s=20, latency_ms=50}";

/// How often both are run if others use the machine meanwhile: MobiLLM waits for its link, PAE MobiLLM
/// for a processor.
const ROUNDS: usize = 2;

/// One seed of each.
pub fn measure() -> Result<Figure, Error> {
    let (rounds, load) = quietest(1, ROUNDS, |_| papers(1, &[TRANSPORT]))?;
    let [comparison] = &rounds[..] else { return Err("nothing was measured".into()) };
    let figure = figure(comparison)?;
    let note = format!("{}. {load}", figure.note);
    Ok(figure.note(note))
}

/// MobiLLM's seconds to the target over PAE MobiLLM's.
fn figure(comparison: &Comparison) -> Result<Figure, Error> {
    let [mobillm, pae] = &Compared::both(comparison)?;
    let target = comparison.figures.target.ok_or("there is no target")?;
    let seconds = mobillm.mean("reached its own target", |of| of.seconds_to_target)?;
    // Who never arrives takes for ever.
    let ratio = pae.figures.seconds_to_target.map_or(0.0, |pae| seconds / pae.mean);
    let figure =
        format!("seconds to target at 20 Mbit/s and 50 ms, {} over {}", mobillm.name, pae.name);
    let note = format!(
        "accuracy {:.2} %. {}. {}",
        100.0 * target,
        told(mobillm, target)?,
        told(pae, target)?
    );
    Ok(Figure::new(figure, ratio, "times").at_least(3.0).note(note))
}

/// When the run of `variant` reached `target`, and what all of it took: emulated seconds apart from
/// those in which something was computed.
fn told(variant: &Compared<'_>, target: f64) -> Result<String, Error> {
    let name = variant.name;
    let [(_, run)] = variant.runs[..] else {
        return Err(format!("{name} was run with {} seeds, not one", variant.runs.len()).into());
    };
    let link = run.link.emulated.ok_or_else(|| format!("the link of {name} was not emulated"))?;
    let epoch = run.epochs.iter().position(|epoch| epoch.eval.main().1 >= target);
    let reached = match (variant.figures.seconds_to_target, epoch) {
        (Some(seconds), Some(epoch)) => format!("{:.1} s, epoch {}", seconds.mean, epoch + 1),
        _ => "not reached".to_owned(),
    };
    Ok(format!(
        "{name}: {reached}; of the {:.1} s of the whole run the emulated link held back frames for \
         {:.1} s up and {:.1} s down; device and server computed for {:.1} s and {:.1} s",
        run.wall_seconds,
        link.up_seconds,
        link.down_seconds,
        run.device.forward_seconds + run.device.eval_seconds,
        run.server.train_seconds
    ))
}

#[cfg(test)]
mod tests {
    use mobillm_core::transport::Emulated;
    use mobillm_report::{Outcome, Target};

    use super::super::tests::made_up;
    use super::*;

    /// One seed of each variant over an emulated link.
    fn emulated(target: f64) -> Comparison {
        let Comparison { mut variants, machine, .. } = made_up();
        for variant in &mut variants {
            variant.runs.truncate(1);
            let Outcome::Finished(run) = &mut variant.runs[0].outcome else { panic!("finished") };
            run.link.emulated = Some(Emulated { up_seconds: 281.5, ..Emulated::default() });
        }
        Comparison::new(variants, Target::Value(target), machine)
    }

    #[test]
    fn seconds_are_those_to_the_target_and_who_never_arrives_has_missed() {
        let comparison = emulated(0.99);
        let [mobillm, pae] = Compared::both(&comparison).unwrap();
        let seconds = [&mobillm, &pae].map(|of| of.figures.seconds_to_target.unwrap().mean);
        let times = figure(&comparison).unwrap();
        assert_eq!(times.measured.number, seconds[0] / seconds[1]);
        for part in ["accuracy 99.00 %", &format!("{:.1} s, epoch ", seconds[1]), "281.5 s up"] {
            assert!(times.note.contains(part), "{}", times.note);
        }

        let best = |of: &Compared<'_>| {
            of.runs[0].1.epochs.iter().map(|epoch| epoch.eval.main().1).fold(0.0, f64::max)
        };
        let [all, once] = [best(&mobillm), best(&pae)];
        assert!(once < all, "{once} {all}");
        let never = figure(&emulated(all)).unwrap();
        assert_eq!((never.measured.number, never.met), (0.0, Some(false)));
        assert!(never.note.contains("pae-mobillm: not reached"), "{}", never.note);

        let error = figure(&made_up()).unwrap_err().to_string();
        assert!(error.contains("seeds, not one"), "{error}");
    }
}
