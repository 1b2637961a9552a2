//! `completions`, `man`: what shells and `man` know of the command line.

use std::fs;
use std::io::{Write, stdout};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Outcome, print};
use crate::arguments::{Arguments, ManArguments};

/// As people call the program.
const NAME: &str = "mobillm";

pub(super) fn completions(shell: Shell) -> Outcome {
    // Not to stdout: what it cannot write there it would panic over.
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), NAME, &mut script);
    let mut out = stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush()?)
}

pub(super) fn man(arguments: &Arguments, man: &ManArguments) -> Outcome {
    fs::create_dir_all(&man.out)?;
    clap_mangen::generate_to(Arguments::command(), &man.out)?;
    print(arguments.json, &man.out, || {
        format!("man pages are in {0}; try `man -l {0}/{NAME}.1`", man.out.display())
    })
}
