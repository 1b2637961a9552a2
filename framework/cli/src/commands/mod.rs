//! One file per group of subcommands.

mod compare;
mod fetch;
mod look;
mod plugins;
mod schema;
mod shell;
mod train;
mod r#use;

use std::io::Write;

use serde::Serialize;

use crate::CommandError;
use crate::arguments::{Arguments, Command};

pub(crate) use plugins::{NewError, Report, Verdict};
pub(crate) use train::config_name;

type Outcome = Result<(), CommandError>;

pub(crate) fn dispatch(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::Run(run) => train::run(arguments, run),
        Command::Server(server) => train::server(arguments, server),
        Command::Device(device) => train::device(arguments, device),
        Command::Compare(compare) => compare::compare(arguments, compare),
        Command::Predict(predict) => r#use::predict(arguments, predict),
        Command::Eval(eval) => r#use::eval(arguments, eval),
        Command::Import(import) => fetch::import(arguments, import),
        Command::Inspect(inspect) => look::inspect(arguments, inspect),
        Command::Check(config) => look::check(arguments, config),
        Command::Schema(schema) => schema::schema(arguments, schema),
        Command::Pull(pull) => fetch::pull(arguments, pull),
        Command::Plugins(plugins) => plugins::plugins(arguments, plugins),
        Command::Completions { shell } => shell::completions(*shell),
        Command::Man(man) => shell::man(arguments, man),
    }
}

/// Prints `value` as JSON, or `text` for people.
fn print(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Outcome {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", text())?;
    }
    out.flush()?;
    Ok(())
}
