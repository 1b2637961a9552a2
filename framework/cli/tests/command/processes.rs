//! Device and server as two processes over TCP.

use std::net::TcpListener;
use std::process::Output;

use crate::plugins::{Q6, rebuild, with_library};
use crate::setup::{Running, Setup, assert_tidy, assert_whole, failed, succeeded};

const EPOCHS: &str = "training.epochs=24";

/// A server on a port that the system chooses, or on the one that `transport` names.
fn serve(setup: &Setup, transport: Option<&str>) -> (Running, String) {
    serve_with(setup, transport, &[])
}

/// The same with more on its command line.
fn serve_with(setup: &Setup, transport: Option<&str>, more: &[&str]) -> (Running, String) {
    let transport = transport.unwrap_or("link.transport={type=\"tcp\", address=\"127.0.0.1:0\"}");
    let sets = ["--set", transport, "--set", EPOCHS];
    let arguments = ["server", "toy.toml", "--out", "server"];
    let mut server = Running::start(setup.command(&[&arguments[..], &sets, more].concat()));
    let line = server.wait_for("listening on ");
    let address = line.trim_start_matches("listening on ");
    (server, format!("link.transport={{type=\"tcp\", address=\"{address}\"}}"))
}

fn device(setup: &Setup, transport: &str) -> Running {
    device_with(setup, transport, &[])
}

/// The same with more on its command line.
fn device_with(setup: &Setup, transport: &str, more: &[&str]) -> Running {
    let sets = ["--set", transport, "--set", EPOCHS];
    let arguments = ["device", "toy.toml", "--out", "device", "--json"];
    Running::start(setup.command(&[&arguments[..], &sets, more].concat()))
}

/// The adapter that a run in one process ends with.
fn reference(setup: &Setup) -> Vec<u8> {
    setup.succeeds(&["run", "toy.toml", "--set", EPOCHS, "--out", "whole"]);
    setup.adapter("whole")
}

/// Both ends have finished, with the adapter of one process.
#[track_caller]
fn finished(setup: &Setup, device: &Output, server: &Output) {
    let summary: serde_json::Value = serde_json::from_str(&succeeded(device)).unwrap();
    assert!(summary["device"]["peak_rss_bytes"].as_u64() > Some(1_000_000), "{summary}");
    assert_eq!(succeeded(server), "");
    let notes = String::from_utf8_lossy(&server.stderr);
    assert!(notes.ends_with("the run is finished\n"), "{notes}");
    assert!(setup.adapter("device") == reference(setup), "the adapters differ");
    assert_tidy(&setup.path("device"));
    assert_tidy(&setup.path("server"));
}

#[test]
fn two_processes_train_the_adapter_of_one() {
    let setup = Setup::new();
    let (server, transport) = serve(&setup, None);
    let device = device(&setup, &transport).end();
    finished(&setup, &device, &server.end());
}

#[test]
fn a_killed_device_comes_back() {
    let setup = Setup::new();
    let (mut server, transport) = serve(&setup, None);
    let mut first = device(&setup, &transport);
    first.wait_for("epoch 2:");
    first.signal("KILL");
    assert_eq!(first.end().status.code(), None);
    assert!(!setup.path("device/summary.json").exists(), "the signal came too late");
    assert_whole(&setup.path("device"));
    server.wait_for("waiting for");
    let second = device(&setup, &transport).end();
    finished(&setup, &second, &server.end());
}

#[test]
fn a_killed_server_comes_back() {
    let setup = Setup::new();
    let (server, transport) = serve(&setup, None);
    let mut first = device(&setup, &transport);
    first.wait_for("epoch 2:");
    server.signal("KILL");
    assert_eq!(server.end().status.code(), None);
    failed(1, &first.end());
    assert_whole(&setup.path("server"));
    let (server, transport) = serve(&setup, Some(&transport));
    let second = device(&setup, &transport).end();
    finished(&setup, &second, &server.end());
}

#[test]
fn ctrl_c_at_either_end_stops_it_in_order() {
    let setup = Setup::new();
    let (mut server, transport) = serve(&setup, None);
    let mut first = device(&setup, &transport);
    first.wait_for("epoch 2:");
    first.signal("INT");
    failed(130, &first.end());
    server.wait_for("waiting for");
    let mut second = device(&setup, &transport);
    second.wait_for("epoch ");
    server.signal("INT");
    let errors = failed(130, &server.end());
    assert!(errors.contains("the same command goes on from here"), "{errors}");
    failed(1, &second.end());
    let (server, transport) = serve(&setup, Some(&transport));
    let third = device(&setup, &transport).end();
    finished(&setup, &third, &server.end());
}

#[test]
fn a_server_goes_on_only_with_the_library_that_it_began_with() {
    // Each end has a file of its own, as on two machines.
    let setup = with_library("acme_codes");
    std::fs::copy(setup.path("lib/codes.so"), setup.path("lib/device.so")).unwrap();
    let with = |file: &str| {
        let load = format!("plugins.load=[\"lib/{file}\"]");
        [Q6[0].to_owned(), Q6[1].to_owned(), "--set".to_owned(), load]
    };
    let (ours, theirs) = (with("codes.so"), with("device.so"));
    let serve = |transport| serve_with(&setup, transport, &ours.each_ref().map(String::as_str));
    let device =
        |transport: &str| device_with(&setup, transport, &theirs.each_ref().map(String::as_str));
    let (server, transport) = serve(None);
    let mut first = device(&transport);
    first.wait_for("epoch 2:");
    server.signal("INT");
    failed(130, &server.end());
    failed(1, &first.end());

    let (old, [name, rebuilt]) = rebuild(&setup);
    let said = format!(
        "the folder server holds a run that was begun with another set of plugins ({name}; now it is \
         {rebuilt}); put it back to go on"
    );
    let (mut server, _) = serve(Some(&transport));
    let warning = server.wait_for("until then its device is refused");
    assert!(warning.contains(&said), "{said:?} is not in: {warning}");
    let error = failed(1, &device(&transport).end());
    assert!(error.contains(&format!("the server refuses: {said}")), "{said:?} is not in: {error}");
    server.signal("INT");
    failed(130, &server.end());

    setup.write("lib/codes.so", old);
    let (server, transport) = serve(Some(&transport));
    succeeded(&device(&transport).end());
    succeeded(&server.end());
}

#[test]
fn a_device_leaves_a_server_that_keeps_samples_and_comes_back_for_the_result() {
    let setup = Setup::new();
    let kept = ["--set", "server.store={type=\"disk\"}"];
    let (server, transport) = serve_with(&setup, None, &kept);
    let arguments = ["device", "toy.toml", "--out", "device", "--set", EPOCHS, "--set", &transport];
    let device = [&arguments[..], &kept].concat();
    let left = setup.succeeds(&[&device[..], &["--leave"]].concat());
    assert!(left.ends_with("the same command comes back for the result\n"), "{left}");
    assert!(!setup.path("device/summary.json").exists(), "it did not leave");
    let table = setup.succeeds(&device);
    assert!(table.contains("accuracy before"), "{table}");
    succeeded(&server.end());
    assert!(setup.path("device/report.html").exists());
    let error = setup.fails(2, &[&arguments[..], &["--leave", "--fresh"]].concat());
    assert!(error.contains("server.store.type: the server keeps no samples"), "{error}");
}

#[test]
fn a_device_that_waits_for_its_server_can_be_stopped() {
    let setup = Setup::new();
    // Was free a moment ago: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let transport = format!("link.transport={{type=\"tcp\", address=\"{address}\"}}");
    let mut waiting = device(&setup, &transport);
    waiting.wait_for("texts are distinct");
    waiting.signal("INT");
    failed(130, &waiting.end());
}
