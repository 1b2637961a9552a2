//! A store whose disk is full, that is too small or damaged, or that belongs to something else.

use std::fs;
use std::path::PathBuf;

use mobillm_bundle::fixture::TinyBert;

use crate::disk::limited;
use crate::pae::{Pae, ROWS, WINDOW, forwarded, missing, reached, server_arguments};
use crate::setup::{Running, assert_whole, failed};

#[test]
fn a_store_on_a_full_disk_keeps_what_it_has_acknowledged() {
    let pae = Pae::new();
    // Samples that are larger than all else that a server writes.
    let large = [
        "--set",
        "device.quantizer={type=\"none\"}",
        "--set",
        "device.selector={type=\"all\"}",
        "--set",
        "server.side_network.architecture.rank=1",
        "--set",
        "server.checkpoint_steps=1000",
    ];
    let mut full = Running::start(limited(&pae.setup, 40, &server_arguments(&large)));
    let transport = reached(&mut full);
    let told = failed(1, &pae.device(&transport, &large).end());
    let error = failed(1, &full.end());
    for error in [told, error] {
        assert!(error.contains("cannot write server/store/samples: "), "{error}");
        assert!(error.contains("make room there and start the server again"), "{error}");
        assert!(error.contains("what the store has acknowledged is kept"), "{error}");
    }
    assert_whole(&pae.setup.path("server"));
    let (stored, before) = (pae.stored(), forwarded(&pae.state()));
    assert!((WINDOW..ROWS).contains(&stored), "{stored} were stored");

    let (server, transport) = pae.serve(&large);
    let device = pae.device(&transport, &large).end();
    let whole = [&["run", "pae.toml", "--out", "whole"], &large[..]].concat();
    pae.setup.succeeds(&whole);
    let summary = pae.finished(&device, &server.end());
    assert_eq!(forwarded(&summary) - before, missing(stored));
}

#[test]
fn a_store_of_something_else_is_refused() {
    let pae = Pae::new();
    pae.trained_alone();
    let before = fs::read(pae.samples()).unwrap();
    let int8 = ["--set", "device.quantizer={type=\"int8\"}"];
    // The device itself knows that its run was begun with another config.
    let (server, transport) = pae.serve(&int8);
    let error = failed(1, &pae.device(&transport, &int8).end());
    assert!(error.contains("begun with another config; put it back"), "{error}");
    // With the config that it had, it does not fit the server's.
    let error = failed(1, &pae.device(&transport, &[]).end());
    assert!(error.contains("quantizer") && error.contains("the same in both configs"), "{error}");
    // Neither may another run replace this one.
    let fresh = ["device", "pae.toml", "--out", "other", "--set", &transport];
    let error = pae.setup.fails(1, &[&fresh[..], &int8].concat());
    assert!(error.contains("holds another run; start the server with another --out"), "{error}");
    server.signal("INT");
    failed(130, &server.end());
    assert!(fs::read(pae.samples()).unwrap() == before, "the store was changed");
    assert_eq!(pae.goes_on(), 0);
}

/// As one who takes the samples of a run along to the folder of the next.
#[test]
fn a_store_that_was_put_into_another_folder_says_what_differs() {
    let pae = Pae::new();
    pae.trained_alone();
    let store = pae.setup.path("server/store");
    let kept = pae.setup.path("kept");
    fs::rename(&store, &kept).unwrap();
    fs::remove_dir_all(pae.setup.path("server")).unwrap();
    fs::remove_dir_all(pae.setup.path("device")).unwrap();
    fs::create_dir(pae.setup.path("server")).unwrap();
    fs::rename(&kept, &store).unwrap();
    let other = TinyBert { seed: 2, ..TinyBert::default() }.bundle(&pae.setup.path("other"));
    let int8 = ["--set", "device.quantizer={type=\"int8\"}", "--set", "device.bundle=\"other\""];
    let (server, transport) = pae.serve(&int8);
    let told = failed(1, &pae.device(&transport, &int8).end());
    let error = failed(1, &server.end());
    let bundle = format!(", this run has {}; ", other.unwrap().info().bundle);
    for error in [told, error] {
        assert!(error.contains("server/store/index: the store was written with run "), "{error}");
        assert!(error.contains("; bundle ") && error.contains(&bundle), "{error}");
        assert!(error.contains("; quantizer nf4"), "{error}");
        assert!(error.contains(", this run has int8 v1"), "{error}");
        assert!(
            error.contains(
                "go on with the config and the bundle that it was begun with, or use another folder"
            ),
            "{error}"
        );
    }
}

/// A run whose server was killed in its second epoch or soon after, the device gone too.
fn cut_within() -> Pae {
    let pae = Pae::new();
    let (server, transport) = pae.serve(&[]);
    let mut device = pae.device(&transport, &[]);
    device.wait_for("epoch 1:");
    server.signal("KILL");
    assert_eq!(server.end().status.code(), None);
    failed(1, &device.end());
    assert!(!pae.setup.path("device/summary.json").exists(), "the signal came too late");
    pae
}

/// Does something to the bytes of a file.
type Damage = fn(&mut Vec<u8>);

fn damage(path: PathBuf, damage: Damage) {
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_store_that_is_damaged_is_reported_and_filled_again_by_the_device() {
    let flip_in_the_middle: Damage = |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let flip_an_entry: Damage = |bytes| {
        let entry = bytes.len() - 20 * 12;
        bytes[entry] ^= 1;
    };
    let cut: Damage = |bytes| bytes.truncate(bytes.len() - 5);
    // What is said, and how many samples are whole before the damage.
    let cases = [
        ("samples", flip_in_the_middle, "sample 24 at byte ", 24),
        ("samples", cut, "48 samples were listed but only 47 were whole", 47),
        ("index", flip_an_entry, "index after the first 28 samples were no whole", 28),
        ("index", cut, "7 bytes of the index after the first 47 samples were no whole", 47),
    ];
    for (file, how, warning, whole) in cases {
        let pae = cut_within();
        damage(pae.setup.path("server/store").join(file), how);
        let (mut server, transport) = pae.serve(&[]);
        let line = server.wait_for(warning);
        assert!(line.starts_with("warning: "), "{line}");
        let before = forwarded(&pae.state());
        let device = pae.device(&transport, &[]).end();
        let summary = pae.finished(&device, &server.end());
        assert_eq!(forwarded(&summary) - before, missing(whole / 4 * 4), "{file}: {warning}");
    }
}

#[test]
fn a_store_whose_index_is_lost_can_be_removed() {
    let pae = cut_within();
    damage(pae.setup.path("server/store/index"), |bytes| bytes[30] ^= 1);
    let error = pae.setup.fails(1, &server_arguments(&[]));
    assert!(error.contains("server/store/index: its header is damaged"), "{error}");
    assert!(
        error.contains("remove the folder that it is in, and the device sends the samples again"),
        "{error}"
    );
    fs::remove_dir_all(pae.setup.path("server/store")).unwrap();
    assert_eq!(pae.goes_on(), ROWS);
}

#[test]
fn a_store_without_room_for_all_is_refused_at_both_ends_before_a_row_goes_forward() {
    let pae = Pae::new();
    let rows: String = (0..900).map(|row| format!("good {row}\thappy\nbad {row}\tsad\n")).collect();
    pae.setup.write("toy.tsv", format!("text\tmood\n{rows}"));
    let none = ["--set", "device.quantizer={type=\"none\"}"];
    let all = ["--set", "device.selector={type=\"all\"}"];
    for store in ["memory", "disk"] {
        let small = format!("server.store={{type=\"{store}\", limit_mib=1}}");
        let sets = [&none[..], &all, &["--set", &small]].concat();
        let (mut server, transport) = pae.serve(&sets);
        let error = failed(1, &pae.device(&transport, &sets).end());
        let noted = server.wait_for("warning: ");
        for said in [&error, &noted] {
            assert!(said.contains("the server refuses: 1440 samples need 2 MiB"), "{said}");
            assert!(said.contains("`server.store.limit_mib` is 1; raise it, or choose"), "{said}");
        }
        let device = &pae.state()["device"];
        let went = [&device["samples_forwarded"], &device["held_out_forwarded"]];
        assert_eq!(went, [0, 0], "{device}");
        assert!(!pae.setup.path("server/store").exists(), "a store was begun");
        server.signal("INT");
        failed(130, &server.end());
        fs::remove_dir_all(pae.setup.path("device")).unwrap();
    }
}
