//! PyTorch and PEFT in a virtual environment of this benchmark's own, in the user's cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mobillm_pull::Cache;

use crate::Error;

/// What is installed, by name and version; what they need comes with them.
const PACKAGES: [&str; 4] =
    ["torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "gguf==0.19.0"];

/// Written when all is installed.
const COMPLETE: &str = "mobillm-complete";

/// The environment's Python. The first call installs several GB.
pub fn python() -> Result<PathBuf, Error> {
    let name = format!("peft-{}", PACKAGES.map(|package| package.replace("==", "-")).join("-"));
    let folder = Cache::user()?.path().join("python").join(name);
    let python = folder.join("bin/python");
    let complete = folder.join(COMPLETE);
    if complete.exists() {
        return Ok(python);
    }
    eprintln!("making a virtual environment with {} in {}", PACKAGES.join(", "), folder.display());
    // An installation that was interrupted is begun again.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let base = std::env::var_os("MOBILLM_PYTHON").unwrap_or_else(|| "python3".into());
    finish(Command::new(base).args(["-m", "venv"]).arg(&folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    finish(Command::new(&python).args(install).args(PACKAGES))?;
    fs::write(complete, "")?;
    Ok(python)
}

fn finish(command: &mut Command) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot run {program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed with {status}").into()) }
}
