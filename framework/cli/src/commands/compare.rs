//! `compare`.

use mobillm::RunError;
use mobillm_report::{Comparison, Outcome as OfRun, Target};

use super::{Outcome, print};
use crate::CommandError;
use crate::arguments::{Arguments, CompareArguments};
use crate::compare::{Interrupts, Matrix, variants};
use crate::machine::environment;
use crate::watcher::Watcher;

pub(super) fn compare(arguments: &Arguments, compare: &CompareArguments) -> Outcome {
    let variants = variants(&compare.configs, &compare.sets, &environment()?)?;
    let target = compare.target.map_or_else(Target::default, Target::Value);
    let mut matrix = Matrix::new(variants, compare.seeds, target, compare.out.clone())?;
    let watcher = Watcher::new(arguments.quiet);
    // What came before a Ctrl-C may simply end.
    let interrupts = Interrupts::new()?;
    let comparison = matrix.run(&interrupts, &watcher).inspect_err(|error| {
        if matches!(error, CommandError::Run(RunError::Stopped)) {
            watcher.line("the same command goes on from here");
        }
    })?;
    print(arguments.json, &comparison, || comparison.table())?;
    watcher.line(&format!("report: {}", compare.out.join("report.html").display()));
    check(&comparison)
}

fn check(comparison: &Comparison) -> Outcome {
    let outcomes = || comparison.variants.iter().flat_map(|variant| &variant.runs);
    let failed = outcomes().filter(|run| matches!(run.outcome, OfRun::Failed { .. })).count();
    if failed == 0 {
        return Ok(());
    }
    Err(CommandError::Failed { failed, runs: outcomes().count() })
}
