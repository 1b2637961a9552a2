//! The `mobillm` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mobillm_cli::main()
}
