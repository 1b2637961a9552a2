//! A server that keeps samples: either end is killed, or the device leaves. What the server has
//! acknowledged is not sent again, and the adapter is that of an undisturbed run.

use serde_json::Value;

use crate::pae::{Pae, ROWS, forwarded, missing};
use crate::setup::{assert_whole, failed, succeeded};

#[test]
fn a_server_that_is_killed_in_the_first_epoch_asks_for_the_rest_of_it() {
    for enough in [1, 25] {
        let pae = Pae::new();
        let (server, transport) = pae.serve(&[]);
        let first = pae.slow_device(&transport);
        server.wait_until(|| pae.stored() >= enough);
        server.signal("KILL");
        assert_eq!(server.end().status.code(), None);
        failed(1, &first.end());
        assert_whole(&pae.setup.path("server"));
        let stored = pae.stored();
        assert!(stored < ROWS, "the signal came too late");
        assert_eq!(pae.goes_on(), missing(stored), "{stored} were stored");
    }
}

#[test]
fn a_server_that_is_killed_once_all_is_stored_asks_for_nothing_again() {
    let pae = Pae::new();
    let (server, transport) = pae.serve(&[]);
    let first = pae.slow_device(&transport);
    // Nothing is trained yet, or little of it.
    server.wait_until(|| pae.stored() == ROWS);
    server.signal("KILL");
    assert_eq!(server.end().status.code(), None);
    failed(1, &first.end());
    assert_eq!(forwarded(&pae.state()), ROWS);
    assert_eq!(pae.goes_on(), 0);
}

#[test]
fn a_server_that_is_killed_in_later_epochs_asks_for_nothing_again() {
    let pae = Pae::new();
    let (server, transport) = pae.serve(&[]);
    let mut device = pae.device(&transport, &[]);
    device.wait_for("epoch 2:");
    server.signal("KILL");
    assert_eq!(server.end().status.code(), None);
    failed(1, &device.end());
    assert!(!pae.setup.path("device/summary.json").exists(), "the signal came too late");
    assert_eq!(forwarded(&pae.state()), ROWS);
    // Again, while it goes on without a device.
    let (mut server, _) = pae.serve(&[]);
    server.wait_for("no device is needed: training goes on");
    server.signal("KILL");
    assert_eq!(server.end().status.code(), None);
    assert_eq!(pae.goes_on(), 0);
}

#[test]
fn a_device_that_is_killed_in_the_first_epoch_sends_the_rest_of_it() {
    let pae = Pae::new();
    let (mut server, transport) = pae.serve(&[]);
    let first = pae.slow_device(&transport);
    first.wait_until(|| pae.stored() >= 1);
    first.signal("KILL");
    assert_eq!(first.end().status.code(), None);
    server.wait_for("waiting for");
    let (stored, before) = (pae.stored(), forwarded(&pae.state()));
    assert!(stored < ROWS, "the signal came too late");
    let second = pae.device(&transport, &[]).end();
    let summary = pae.finished(&second, &server.end());
    assert_eq!(forwarded(&summary) - before, missing(stored), "{stored} were stored");
}

#[test]
fn a_device_that_is_killed_later_has_nothing_to_send() {
    let pae = Pae::new();
    let (mut server, transport) = pae.serve(&[]);
    let mut first = pae.device(&transport, &[]);
    first.wait_for("epoch 2:");
    first.signal("KILL");
    assert_eq!(first.end().status.code(), None);
    server.wait_for("waiting for");
    let second = pae.device(&transport, &[]).end();
    assert_eq!(forwarded(&pae.finished(&second, &server.end())), ROWS);
}

#[test]
fn a_device_that_left_needs_a_hello_and_a_finish_to_come_back() {
    let pae = Pae::new();
    let (mut server, transport) = pae.serve(&[]);
    // For people, not for programs.
    let leave = ["device", "pae.toml", "--out", "device", "--leave", "--set", &transport];
    let said = pae.setup.succeeds(&leave);
    assert!(said.ends_with("the same command comes back for the result\n"), "{said}");
    let left = pae.state();
    server.wait_for("every epoch is trained; waiting for the device");
    // What the server has done alone outlives it.
    server.signal("KILL");
    assert_eq!(server.end().status.code(), None);
    let (server, transport) = pae.serve(&[]);
    let back = pae.device(&transport, &[]).end();
    let summary = pae.finished(&back, &server.end());
    assert_eq!((forwarded(&left), forwarded(&summary)), (ROWS, ROWS));
    let bytes_up = |of: &Value| of["link"]["bytes_up"].as_u64().unwrap();
    let second = bytes_up(&summary) - bytes_up(&left);
    assert!((1..1000).contains(&second), "{second} bytes for a hello and a finish");
    let answer = pae.setup.json(&["predict", "device", "the good tap", "--json"]);
    assert!(answer["label"].is_string(), "{answer}");
}

#[test]
fn a_device_may_leave_a_server_that_keeps_samples_in_memory() {
    let pae = Pae::new();
    let memory = ["--set", "server.store={type=\"memory\"}"];
    let (mut server, transport) = pae.serve(&memory);
    let leave = [&memory[..], &["--leave"]].concat();
    succeeded(&pae.device(&transport, &leave).end());
    server.wait_for("every epoch is trained");
    let back = pae.device(&transport, &memory).end();
    assert_eq!(forwarded(&pae.finished(&back, &server.end())), ROWS);
}
