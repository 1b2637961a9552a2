//! The benchmarks behind `cargo xtask bench`.
//!
//! ```text
//! mobillm-bench NAME [--json FILE]
//! mobillm-bench --list
//! ```
//!
//! A benchmark is a function that returns [`figure::Figure`]s; each has a module of its own and a line
//! in [`BENCHMARKS`]. What runs is the library as others use it, in this process.

mod compare;
// Memory is read from /proc.
#[cfg(target_os = "linux")]
mod device_vs_peft;
mod figure;
mod pipeline;
mod plugins;
mod program;
mod quantizers;
mod quickstart;
// A cold page cache is something that only this system can be asked for.
#[cfg(target_os = "linux")]
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use figure::Figure;

type Error = Box<dyn std::error::Error>;

/// One benchmark.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Vec<Figure>, Error>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "quantizers",
        about: "encode and decode rows of 1 MB and 64 MB on one thread, against copying them",
        run: quantizers::run,
    },
    Benchmark {
        name: "pipeline",
        about: "the device's loop, device and server at the same time, bytes on the wire",
        run: pipeline::run,
    },
    Benchmark {
        name: "quickstart",
        about: "how well, and how fast, the quickstart's run answers held-out messages",
        run: quickstart::run,
    },
    Benchmark {
        name: "compare",
        about: "PAE MobiLLM against MobiLLM: bytes, answers, seconds over a slow link",
        run: compare::run,
    },
    #[cfg(target_os = "linux")]
    Benchmark {
        name: "device-vs-peft",
        about: "a device with a language model against PyTorch and PEFT: speed, memory, answers",
        run: device_vs_peft::run,
    },
    Benchmark {
        name: "plugins",
        about: "a call through a plugin's door, the program's start, a new plugin from nothing",
        run: plugins::run,
    },
    #[cfg(target_os = "linux")]
    Benchmark {
        name: "store",
        about: "ingest and read back samples on disk, against what the disk does with a plain file",
        run: store::run,
    },
];

const USAGE: &str = "usage: mobillm-bench NAME [--json FILE] | mobillm-bench --list";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    List,
    Run { name: String, json: Option<PathBuf> },
}

impl Command {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.into_iter().collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["--list"] => Ok(Self::List),
            [name] | [name, "--json", _] | ["--json", _, name] if name.starts_with('-') => {
                Err(format!("unknown option {name}; {USAGE}"))
            }
            [name] => Ok(Self::Run { name: name.into(), json: None }),
            [name, "--json", file] | ["--json", file, name] => {
                Ok(Self::Run { name: name.into(), json: Some(file.into()) })
            }
            _ => Err(USAGE.into()),
        }
    }
}

fn main() -> ExitCode {
    let outcome = Command::parse(std::env::args().skip(1)).map_err(Error::from).and_then(execute);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), Error> {
    match command {
        Command::List => {
            for benchmark in BENCHMARKS {
                println!("{:<15} {}", benchmark.name, benchmark.about);
            }
            Ok(())
        }
        Command::Run { name, json } => run(&name, json.as_deref()),
    }
}

fn run(name: &str, json: Option<&Path>) -> Result<(), Error> {
    let Some(benchmark) = BENCHMARKS.iter().find(|benchmark| benchmark.name == name) else {
        let names: Vec<_> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
        return Err(format!("no benchmark {name}; there are: {}", names.join(", ")).into());
    };
    if cfg!(debug_assertions) {
        return Err("figures of a debug build mean nothing; build with --release".into());
    }
    let figures = (benchmark.run)()?;
    println!("{}", figure::table(&figures));
    if let Some(file) = json {
        figure::write_json(name, &figures, file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, String> {
        Command::parse(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn arguments_are_a_name_and_a_file() {
        assert_eq!(parse(&["--list"]), Ok(Command::List));
        let run = |json: Option<&str>| {
            Ok(Command::Run { name: "quantizers".into(), json: json.map(PathBuf::from) })
        };
        assert_eq!(parse(&["quantizers"]), run(None));
        assert_eq!(parse(&["quantizers", "--json", "out.json"]), run(Some("out.json")));
        assert_eq!(parse(&["--json", "out.json", "quantizers"]), run(Some("out.json")));
        for wrong in [&[][..], &["--json"], &["--fast"], &["quantizers", "--json"], &["a", "b"]] {
            assert!(parse(wrong).is_err_and(|error| error.contains("usage")), "{wrong:?}");
        }
    }

    #[test]
    fn an_unknown_benchmark_is_answered_with_the_known() {
        let error = run("quantisers", None).unwrap_err().to_string();
        assert!(error.starts_with("no benchmark quantisers; there are: quantizers, "), "{error}");
    }
}
