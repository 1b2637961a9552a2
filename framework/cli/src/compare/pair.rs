//! One run: device and server as two processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use mobillm::RunError;
use mobillm::run::{RunFolder, lock};
use mobillm_report::Outcome;

use super::half::{Half, TICK};
use super::interrupts::Interrupts;
use super::variant::{ANY_PORT, Variant};

/// How long a server may take to end after its device, which leaves it nothing to train.
const LAST_WORDS: Duration = Duration::from_secs(60);

// The commands, and the folders that they write in the folder of a run.
const DEVICE: &str = "device";
const SERVER: &str = "server";

/// The folder in `runs` of the run of `variant` with `seed`.
pub(super) fn folder(variant: &Variant, seed: u64, runs: &Path) -> PathBuf {
    variant.folder(runs).join(format!("seed-{seed}"))
}

/// What has come of the run in `folder` before, if it is finished.
///
/// # Errors
/// If its figures cannot be read.
pub(super) fn finished(folder: &Path) -> Result<Option<Outcome>, RunError> {
    let summary = RunFolder::summary(&folder.join(DEVICE))?;
    Ok(summary.map(|summary| Outcome::Finished(Box::new(summary))))
}

/// Runs `variant` with `seed` in its folder in `runs`, from its beginning whatever is there: the figures
/// of a run that went on are sums over its sessions, with rows forwarded and sent again. `None` if it
/// was stopped.
///
/// # Errors
/// If a process cannot be started, one of an earlier attempt still runs, or a file cannot be written.
/// What a process fails with is an outcome.
pub(super) fn run(
    variant: &Variant,
    seed: u64,
    runs: &Path,
    interrupts: &Interrupts,
) -> Result<Option<Outcome>, RunError> {
    let config = variant.write(runs)?;
    let folder = folder(variant, seed, runs);
    fs::create_dir_all(&folder).map_err(RunError::file("make the folder", &folder))?;
    clear(&folder)?;
    let start = |name, address: &str| {
        Half::start(name, &config, &variant.sets(seed, address), &folder, interrupts)
    };
    let mut server = start(SERVER, ANY_PORT)?;
    let listening = loop {
        if let Some(address) = server.address() {
            break address;
        }
        if server.ended()?.is_some() {
            return Ok(Some(failed(server.reason())));
        }
        if interrupts.stop() {
            return Ok(None);
        }
        sleep(TICK);
    };
    let mut device = start(DEVICE, &listening)?;
    while device.ended()?.is_none() && !server.has_failed()? {
        if interrupts.stop() {
            // Both at the same time; they are waited for where they are dropped.
            device.ask_to_stop();
            server.ask_to_stop();
            return Ok(None);
        }
        sleep(TICK);
    }
    end(device, server, &folder, interrupts)
}

/// What has come of a run of which one half has ended.
fn end(
    mut device: Half<'_>,
    mut server: Half<'_>,
    folder: &Path,
    interrupts: &Interrupts,
) -> Result<Option<Outcome>, RunError> {
    let trained = device.ended()?.is_some_and(|status| status.success());
    if trained {
        server.wait(LAST_WORDS)?;
        if interrupts.stop_at_once() {
            return Ok(None);
        }
    }
    let server_is_late = trained && server.ended()?.is_none();
    // Alone, neither is of any use.
    device.end()?;
    server.end()?;
    let reason = if server.has_failed()? {
        // It tells the device, whose words then say the same.
        server.reason()
    } else if server_is_late {
        format!("server: it did not end within {} s of its device", LAST_WORDS.as_secs())
    } else if trained {
        return finished(folder);
    } else {
        device.reason()
    };
    // A device that has written its figures looks finished, which this run is not.
    clear(folder)?;
    Ok(Some(failed(reason)))
}

/// Removes what device and server have left in `folder`, but for what they said.
///
/// # Errors
/// If one of them still runs, or something cannot be removed.
fn clear(folder: &Path) -> Result<(), RunError> {
    RunFolder::clear(&folder.join(DEVICE))?;
    let server = folder.join(SERVER);
    if server.exists() {
        let _lock = lock(&server)?;
        fs::remove_dir_all(&server).map_err(RunError::file("remove", server))?;
    }
    Ok(())
}

fn failed(reason: String) -> Outcome {
    Outcome::Failed { reason }
}
