//! What the quickstart's run comes to: `examples/configs/mobillm.toml` as it stands, all threads of the
//! machine, on the held-out fifth of the SMS messages, split by distinct text.

use mobillm::pipeline::{self, RunOptions};

use crate::Error;
use crate::figure::Figure;
use crate::pipeline::{Setup, unobserved};

/// Runs it once.
pub fn run() -> Result<Vec<Figure>, Error> {
    let setup = Setup::new()?;
    let folder = setup.run_folder()?;
    let loaded = setup.example()?;
    let options = RunOptions {
        out: folder.path().join("run"),
        variant: "mobillm".into(),
        fresh: false,
        leave: false,
    };
    let summary = pipeline::run(&loaded, &setup.environment, &options, &unobserved())?;
    let f1 = summary.eval.positive_f1.ok_or("the example has a label whose F1 is reported")?;
    let before = format!("{:.2} % before training", 100.0 * summary.eval.before);
    Ok(vec![
        Figure::new("accuracy on held-out messages", 100.0 * summary.eval.after, "%")
            .at_least(98.5)
            .note(before),
        Figure::new("F1 of spam", 100.0 * f1, "%").at_least(94.0),
        Figure::new("from config to adapter", summary.wall_seconds, "s")
            .at_most(240.0)
            .note("after build and download"),
    ])
}
