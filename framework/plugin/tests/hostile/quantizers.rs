use std::sync::mpsc;
use std::time::Duration;

use mobillm_core::quantizer::{Payload, Quantizer, QuantizerConfig, encode};
use mobillm_plugin::{Hang, watch};
use serde_json::json;

use crate::libraries::{cleared, config};
use crate::{in_rust, names};

fn panicking(at: &str) -> Box<dyn QuantizerConfig> {
    config("hostile.panics", json!({ "at": at }))
}

/// What encoding a row says.
fn encoding(quantizer: &dyn Quantizer) -> Result<usize, String> {
    let mut bytes = Vec::new();
    let encoded = encode(quantizer, &cleared(&[1.0, 2.0], 1), &mut bytes);
    encoded.map(|()| bytes.len()).map_err(|error| error.to_string())
}

fn decoding(quantizer: &dyn Quantizer) -> Result<(), String> {
    let format = quantizer.format();
    let row_bytes = quantizer.row_bytes(2);
    let payload = Payload { format, rows: 1, hidden: 2, row_bytes, bytes: &vec![0; row_bytes] };
    quantizer.decode_rows(&payload, &mut [0.0; 2]).map_err(|error| error.to_string())
}

#[test]
fn a_panic_before_there_is_an_instance_is_a_finding() {
    let library = in_rust();
    for at in ["check", "build", "format"] {
        let found = panicking(at).check(64);
        let call = format!("{at} panicked");
        names(&found[0].to_string(), "quantizer `hostile.panics`", &library, &call, "blew");
    }
    for at in ["build", "format"] {
        let error = encoding(&*panicking(at).build()).unwrap_err();
        assert!(error.contains("blew"), "{error}");
    }
}

#[test]
fn a_panic_poisons_the_instance_and_no_other() {
    let library = in_rust();
    let name = "quantizer `hostile.panics`";
    let quantizer = panicking("encode").build();
    let error = encoding(&*quantizer).unwrap_err();
    names(&error, name, &library, "encode panicked", "the fuse in encode blew");
    let poisoned = "was not called, because encode panicked before: the fuse in encode blew";
    names(&encoding(&*quantizer).unwrap_err(), name, &library, "row_bytes", poisoned);
    names(&decoding(&*quantizer).unwrap_err(), name, &library, "row_bytes", poisoned);
    assert!(quantizer.error_bound(&[1.0])[0].is_nan());

    let quantizer = panicking("decode").build();
    assert!(encoding(&*quantizer).is_ok());
    let error = decoding(&*quantizer).unwrap_err();
    names(&error, name, &library, "decode panicked", "the fuse in decode blew");
    let poisoned = "was not called, because decode panicked before: the fuse in decode blew";
    names(&encoding(&*quantizer).unwrap_err(), name, &library, "row_bytes", poisoned);
    assert!(encoding(&*panicking("nothing").build()).is_ok());
}

#[test]
fn calls_that_cannot_fail_give_what_nothing_passes() {
    in_rust();
    let quantizer = panicking("error_bound").build();
    assert!(quantizer.error_bound(&[1.0, 2.0]).iter().all(|bound| bound.is_nan()));
    let quantizer = panicking("row_bytes").build();
    assert_eq!(quantizer.row_bytes(2), 0);
    assert!(encoding(&*quantizer).unwrap_err().contains("row_bytes panicked before"));
    drop(panicking("release").build());
}

#[test]
fn a_panic_that_panics_again_when_it_is_dropped_is_one() {
    let library = in_rust();
    let error = encoding(&*panicking("encode-twice").build()).unwrap_err();
    names(&error, "quantizer `hostile.panics`", &library, "encode panicked", "it said nothing");
    drop(panicking("release-twice").build());
}

fn in_c(fault: &str) -> Box<dyn QuantizerConfig> {
    crate::in_c();
    config(&format!("hostile.{fault}"), json!({}))
}

#[test]
fn what_c_says_wrong_is_told() {
    for (fault, call, expected) in [
        ("fails-silently", "build failed", "it gave no reason (status 2)"),
        ("null-instance", "build gave something wrong", "no instance"),
        ("diagnostics-are-no-json", "check gave something wrong", "in \"][\""),
    ] {
        let name = format!("quantizer `hostile.{fault}`");
        let found = in_c(fault).check(64);
        names(&found[0].to_string(), &name, "hostile-c 1.0.0", call, expected);
    }
    for (fault, call, expected) in [
        ("error-is-no-text", "encode failed", "\u{fffd}\u{fffd} broken \u{fffd}"),
        ("refuses-without-json", "encode", "{\"row\": 1"),
        ("unknown-status", "encode failed", "it gave no reason (status 77)"),
    ] {
        let config = in_c(fault);
        assert_eq!(config.check(64), []);
        let quantizer = config.build();
        let name = format!("quantizer `hostile.{fault}`");
        for _ in 0..2 {
            let error = encoding(&*quantizer).unwrap_err();
            names(&error, &name, "hostile-c 1.0.0", call, expected);
        }
    }
}

#[test]
fn calls_that_hang_are_told() {
    in_rust();
    let (tell, told) = mpsc::channel();
    watch(Duration::from_millis(100), move |hang| drop(tell.send(hang))).unwrap();
    for at in ["check", "build", "encode", "release"] {
        // It never comes back: the thread ends with the process.
        std::thread::spawn(move || {
            let config: Box<dyn QuantizerConfig> = config("hostile.hangs", json!({ "at": at }));
            config.check(64);
            drop(encoding(&*config.build()));
        });
        // Under valgrind a sound call of another test may take as long.
        let hangs = |hang: &Hang| hang.name.starts_with("quantizer `hostile.hangs` of ");
        let mut told = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(60)).ok());
        let hang = told.find(hangs).unwrap();
        assert!(hang.call == at && hang.waited >= Duration::from_millis(100), "{hang}");
    }
}

#[test]
fn a_row_size_that_nobody_could_mean_asks_for_no_memory() {
    let found = in_c("huge-rows").check(64);
    assert!(found[0].to_string().contains("row_bytes gave something wrong"), "{found:?}");
    let quantizer = in_c("huge-rows").build();
    assert_eq!(quantizer.row_bytes(64), 0);
    assert!(encoding(&*quantizer).unwrap_err().contains("row_bytes gave something wrong"));
}
