//! A process that is killed has lost nothing that it had acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::samples::{all, disk, identity, sample, samples};
use crate::{Fsync, Store};

const FOLDER: &str = "MOBILLM_STORE_KILLED_FOLDER";
const POLICY: &str = "MOBILLM_STORE_KILLED_FSYNC";

fn policies() -> [Fsync; 3] {
    [Fsync::Group, Fsync::EachAppend, Fsync::Never]
}

/// Not a test but what the test below starts and kills: appends for ever and says what is durable.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let policy: usize = std::env::var(POLICY).unwrap().parse().unwrap();
    let mut store =
        Store::open(&disk(policies()[policy]), Path::new(&folder), &identity()).unwrap();
    let mut out = std::io::stdout();
    for round in 0_u64.. {
        for _ in 0..=round % 3 {
            let held = store.len();
            store.append(&samples(held..held + 1 + round % 5)).unwrap();
        }
        if round % 7 == 6 {
            // Asked of the device again; said first, so that nobody counts on what goes.
            let kept = store.len() - 2;
            writeln!(out, "durable {}", kept.min(store.durable())).unwrap();
            store.truncate(kept).unwrap();
        }
        writeln!(out, "durable {}", store.sync().unwrap()).unwrap();
        // Below the limit, so that it never ends by itself.
        if store.len() > 5000 {
            writeln!(out, "durable 0").unwrap();
            store.truncate(0).unwrap();
        }
    }
}

/// Starts it in `parent`, with a relative path to its folder.
fn start(parent: &Path, policy: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::killed::victim", "--nocapture"])
        .current_dir(parent)
        .env(FOLDER, "store")
        .env(POLICY, policy.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    for (policy, fsync) in policies().into_iter().enumerate() {
        let parent = tempfile::tempdir().unwrap();
        let mut acknowledged = 0;
        for lines in [1, 2, 7, 16, 29, 53] {
            let mut child = start(parent.path(), policy);
            let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut durable = || {
                let line = said.next()?.unwrap();
                line.strip_prefix("durable ")
                    .map(|number| number.parse::<u64>().unwrap())
                    .or(Some(0))
            };
            // The first lines are the test runner's.
            let mut heard = 0;
            while heard < lines {
                let number = durable().expect("it goes on until it is killed");
                heard += usize::from(number > 0);
                acknowledged = if number > 0 { number } else { acknowledged };
            }
            child.kill().unwrap();
            // What it said before it died counts.
            while let Some(number) = durable() {
                acknowledged = number;
            }
            child.wait().unwrap();

            let folder = parent.path().join("store");
            let mut store = Store::open(&disk(fsync), &folder, &identity()).unwrap();
            let held = store.len();
            assert!(held >= acknowledged, "{fsync:?}: {held} of {acknowledged}");
            assert_eq!(all(&store), samples(0..held));
            store.append(&[sample(held)]).unwrap();
            acknowledged = store.sync().unwrap();
        }
    }
}
