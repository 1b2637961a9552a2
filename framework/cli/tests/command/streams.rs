//! Whoever reads what the command writes may have enough of it.

use std::process::Command;

use crate::setup::Setup;

/// Runs `mobillm` in a shell, with `pipe` after its arguments, and returns its exit status.
fn piped(setup: &Setup, arguments: &str, pipe: &str) -> (i32, String) {
    let mobillm = env!("CARGO_BIN_EXE_mobillm");
    let script = format!("{mobillm} {arguments} {pipe}; exit ${{PIPESTATUS[0]}}");
    let mut bash = Command::new("bash");
    let output = setup.at_home(bash.args(["-c", &script])).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_reader_of_stdout_that_goes_away_is_no_error() {
    let setup = Setup::trained();
    let predict = format!("predict run {}", "'the good tap' ".repeat(500));
    let jsons = ["inspect toy.toml --json", "pull --json", "check toy.toml"];
    for arguments in [&["inspect toy.toml", "--help", &*predict][..], &jsons].concat() {
        // `true` reads nothing: the first write that is not buffered fails.
        for reader in ["| head -1", "| true"] {
            assert_eq!(piped(&setup, arguments, reader), (0, String::new()), "{arguments}");
        }
    }
}

#[test]
fn a_run_does_not_end_because_nobody_reads_its_notes() {
    let setup = Setup::new();
    let (status, _) = piped(&setup, "run toy.toml --out run", "2>&1 | true");
    assert_eq!(status, 0);
    assert!(setup.path("run/summary.json").exists());
    // Neither does an error turn into a panic, whose exit code is 101.
    assert_eq!(piped(&setup, "predict nothing", "2>&1 | true").0, 1);
}
