//! A disk that is full: an error that says so, nothing half-written, and a run that goes on.
//!
//! A limit on the size of files stands in for the disk: writes fail in the middle of a file.

use std::ffi::OsStr;
use std::process::Command;

use crate::setup::{Running, Setup, assert_tidy, failed, succeeded};

/// `mobillm` that can write no file larger than `blocks` times 1024 bytes.
pub fn limited(setup: &Setup, blocks: u32, arguments: &[impl AsRef<OsStr>]) -> Command {
    // The signal that usually ends such a writer is ignored: a full disk sends none.
    let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"");
    let mut bash = Command::new("bash");
    setup.at_home(&mut bash);
    bash.args(["-c", &script, env!("CARGO_BIN_EXE_mobillm")]).args(arguments);
    bash
}

#[test]
fn a_run_on_a_full_disk_goes_on_when_there_is_room() {
    let setup = Setup::new();
    let run = |out| ["run", "toy.toml", "--set", "training.epochs=16", "--out", out];
    // The book of the steps outgrows it, in the middle of a line and of the run.
    let error = failed(1, &limited(&setup, 16, &run("full")).output().unwrap());
    assert!(error.contains("error: cannot write ") && error.contains("File too large"), "{error}");
    assert!(setup.path("full/adapter.safetensors").exists(), "it was full too soon");
    assert!(!setup.path("full/summary.json").exists(), "it was never full");
    assert_tidy(&setup.path("full"));
    setup.succeeds(&run("full"));
    setup.succeeds(&run("whole"));
    assert!(setup.adapter("full") == setup.adapter("whole"), "the adapters differ");
    // So full that a run cannot even begin.
    let error = failed(1, &limited(&setup, 0, &run("none")).output().unwrap());
    assert!(error.contains("error: cannot write "), "{error}");
    assert_tidy(&setup.path("none"));
    setup.succeeds(&run("none"));
}

#[test]
fn a_server_on_a_full_disk_goes_on_when_there_is_room() {
    let setup = Setup::new();
    // A side network so small that a checkpoint is smaller than the book of the steps.
    let sets = [
        "--set",
        "training.epochs=16",
        "--set",
        "server.side_network.architecture.rank=1",
        "--set",
        "device.selector={type=\"every-nth-layer\", n=3}",
        "--set",
    ];
    let with = |arguments: [&'static str; 4], last: &str| -> Vec<String> {
        arguments.into_iter().chain(sets).chain([last]).map(str::to_owned).collect()
    };
    let server = |transport: &str| with(["server", "toy.toml", "--out", "server"], transport);
    let device = |transport: &str| with(["device", "toy.toml", "--out", "device"], transport);

    // The book of the steps outgrows it, in the middle of a line.
    let any = server("link.transport={type=\"tcp\", address=\"127.0.0.1:0\"}");
    let mut full = Running::start(limited(&setup, 4, &any));
    let line = full.wait_for("listening on ");
    let address = line.trim_start_matches("listening on ");
    let transport = format!("link.transport={{type=\"tcp\", address=\"{address}\"}}");
    // The device is told why.
    let told = failed(1, &setup.output(&device(&transport)));
    let error = failed(1, &full.end());
    for error in [told, error] {
        assert!(error.contains("cannot write ") && error.contains("File too large"), "{error}");
    }
    assert_tidy(&setup.path("server"));

    let mut roomy = Running::start(setup.command(&server(&transport)));
    roomy.wait_for("listening on ");
    succeeded(&setup.output(&device(&transport)));
    succeeded(&roomy.end());
    setup.succeeds(&with(["run", "toy.toml", "--out", "whole"], "training.seed=0"));
    assert!(setup.adapter("device") == setup.adapter("whole"), "the adapters differ");
}
