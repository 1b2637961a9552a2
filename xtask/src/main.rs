//! `cargo xtask`: what a fresh machine runs. It needs Rust, a C++ compiler and Python's pip, and
//! fetches the rest into the user's cache by `mobillm-pull`.
//!
//! - `cargo xtask quickstart` shows MobiLLM at work, from nothing to a prediction;
//! - `cargo xtask libtorch` builds the plugin that trains with libtorch;
//! - `cargo xtask test` runs every test of the workspace;
//! - `cargo xtask lint` runs what a change must pass besides;
//! - `cargo xtask docs` writes what `docs` has of every option;
//! - `cargo xtask sanitize` looks for misused memory on both sides of the plugins' door;
//! - `cargo xtask bench NAME` measures.

mod needs;
mod process;
mod snapshots;
mod tasks;

use std::env;
use std::process::ExitCode;

use process::Failure;

/// A task: its name, its arguments in words, what it does in a line, and how.
struct Task {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

const TASKS: [Task; 7] = [
    Task {
        name: "quickstart",
        arguments: "",
        summary: "fetch a model and data, build, fine-tune, and say what to try next",
        run: tasks::quickstart,
    },
    Task {
        name: "libtorch",
        arguments: "",
        summary: "fetch libtorch, build the plugin with it, and say how a config loads it",
        run: tasks::libtorch,
    },
    Task {
        name: "test",
        arguments: "[ARGS]",
        summary: "fetch what the tests need and run them all; ARGS select, for the test runner",
        run: tasks::test,
    },
    Task {
        name: "lint",
        arguments: "",
        summary: "formatting, clippy and docs, with warnings as errors",
        run: tasks::lint,
    },
    Task {
        name: "docs",
        arguments: "",
        summary: "write docs/options.md and docs/mobillm.schema.json",
        run: tasks::docs,
    },
    Task {
        name: "sanitize",
        arguments: "",
        summary: "the tests of loaded libraries under valgrind, which must be installed",
        run: tasks::sanitize,
    },
    Task {
        name: "bench",
        arguments: "NAME [--json FILE]",
        summary: "measure against the goals; `bench --list` names what can be measured",
        run: tasks::bench,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(format!("which task?\n\n{}", help())));
    };
    if ["--help", "-h", "help"].contains(&name.as_str()) {
        print!("{}", help());
        return Ok(());
    }
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(rest),
        None => Err(Failure::Usage(unknown(name))),
    }
}

fn help() -> String {
    let mut help = "Usage: cargo xtask TASK\n\nTasks:\n".to_owned();
    for Task { name, arguments, summary, .. } in TASKS {
        let call = format!("{name} {arguments}");
        help += &format!("  {call:<24} {summary}\n");
    }
    help
}

fn unknown(name: &str) -> String {
    let likeness = |task: &Task| strsim::jaro_winkler(task.name, name);
    let nearest = TASKS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|task| likeness(task) > 0.7) {
        Some(task) => format!("no task is named `{name}`; did you mean `{}`?", task.name),
        None => format!("no task is named `{name}`\n\n{}", help()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(arguments: &[&str]) -> Failure {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        dispatch(&arguments).unwrap_err()
    }

    #[test]
    fn a_misspelled_task_is_recognized() {
        let failure = complaint(&["quikstart"]);
        assert!(failure.to_string().ends_with("did you mean `quickstart`?"), "{failure}");
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn without_a_task_that_exists_all_are_listed() {
        for failure in [complaint(&[]), complaint(&["xyzzy"])] {
            let message = failure.to_string();
            assert!(TASKS.iter().all(|task| message.contains(task.summary)), "{message}");
            assert_eq!(failure.exit_code(), 2);
        }
    }

    #[test]
    fn arguments_that_a_task_does_not_take_are_refused() {
        for failure in [
            complaint(&["lint", "--fix"]),
            complaint(&["libtorch", "2.13.0"]),
            complaint(&["docs", "options"]),
            complaint(&["sanitize", "all"]),
            complaint(&["quickstart", "now"]),
        ] {
            assert_eq!(failure.exit_code(), 2, "{failure}");
        }
        assert!(complaint(&["bench"]).to_string().contains("bench --list"));
    }
}
