//! `mobillm compare` as a child process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mobillm_report::Comparison;
use tempfile::TempDir;

use crate::Error;

/// Names the program that is measured: the one that users have.
const PROGRAM: &str = "MOBILLM_PROGRAM";

/// What the configs' names start from.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What an error shows of what a program has said.
const LAST_LINES: usize = 12;

/// A comparison and the folder with its runs.
pub struct Finished {
    pub comparison: Comparison,
    pub folder: TempDir,
}

/// The program that is measured, where `configs` are named as in the repository's root.
pub fn mobillm() -> Result<Command, Error> {
    let program = std::env::var_os(PROGRAM).ok_or_else(|| {
        format!("{PROGRAM} names no program; `cargo xtask bench` builds and names it")
    })?;
    let mut command = Command::new(program);
    command.current_dir(ROOT);
    Ok(command)
}

/// Compares `configs` with `seeds` seeds, changed by `sets`.
pub fn compare(configs: &[impl AsRef<Path>], seeds: u64, sets: &[&str]) -> Result<Finished, Error> {
    let out = TempDir::new()?;
    let mut command = mobillm()?;
    command
        .arg("compare")
        .args(configs.iter().map(AsRef::as_ref))
        .args(["--seeds", &seeds.to_string()])
        .args(sets.iter().flat_map(|set| ["--set", set]))
        .arg("--out")
        .arg(out.path());
    match watch(&mut command) {
        Ok(()) => {
            let comparison = Comparison::read(&out.path().join("compare.json"))?;
            Ok(Finished { comparison, folder: out })
        }
        Err(error) => Err(format!("{error}\nits files are in {}", out.keep().display()).into()),
    }
}

/// Runs `command`, passes on what it says to stderr, and fails if it does, with its last lines.
fn watch(command: &mut Command) -> Result<(), Error> {
    let words = command.get_args().map(|word| word.to_string_lossy());
    let line = ["mobillm".into()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
    eprintln!("$ {line}");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(
            |error| format!("cannot run {}: {error}", command.get_program().to_string_lossy()),
        )?;
    let mut said = Vec::new();
    for line in child.stderr.take().into_iter().flat_map(|from| BufReader::new(from).split(b'\n')) {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        said.push(line);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let last = said[said.len().saturating_sub(LAST_LINES)..].join("\n");
    Err(format!("`{line}` failed with {status}; it said last:\n{last}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<(), String> {
        watch(Command::new("sh").args(["-c", script])).map_err(|error| error.to_string())
    }

    #[test]
    fn what_fails_is_told_with_its_last_lines() {
        assert_eq!(shell("echo fine >&2"), Ok(()));
        let error =
            shell("seq 1 40 >&2; printf 'error: full \\377' >&2; echo out; exit 3").unwrap_err();
        let last = "said last:\n30\n31\n32\n33\n34\n35\n36\n37\n38\n39\n40\nerror: full \u{fffd}";
        assert!(error.ends_with(last) && error.contains("exit status: 3"), "{error}");
        let error = watch(&mut Command::new("/nowhere/mobillm")).unwrap_err().to_string();
        assert!(error.starts_with("cannot run /nowhere/mobillm: "), "{error}");
    }
}
