//! The examples, built, loaded and run: a library in Rust and one in C.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

#[path = "libraries/built.rs"]
mod built;
mod libraries;

use std::fs;
use std::path::PathBuf;

use built::rust;
use libraries::compiler::scratch;
use libraries::{c, cleared, config};
use mobillm_core::privacy::PrivacyPolicyConfig;
use mobillm_core::quantizer::{Payload, QuantizeError, Quantizer, QuantizerConfig, decode, encode};
use mobillm_core::registry::{Registry, Slot};
use mobillm_core::sample::Objective;
use mobillm_plugin::abi::{MAJOR, MINOR};
use mobillm_plugin::{Library, LibraryError};
use mobillm_testkit::{privacy, quantizer};
use serde_json::{Value, json};

const EXAMPLE: &str = "examples/plugins/c/acme_bf16.c";
const CLASSES: Objective = Objective::Classification { classes: 3 };

fn in_rust() -> &'static Library {
    Library::named_by_user(&rust("acme_codes")).unwrap()
}

fn in_c() -> &'static Library {
    Library::named_by_user(&c(EXAMPLE, &[])).unwrap()
}

/// A quantizer of a library that is loaded.
fn quantizer_of(tag: &str, options: Value) -> Box<dyn Quantizer> {
    let config: Box<dyn QuantizerConfig> = config(tag, options);
    assert_eq!(config.check(64), []);
    config.build()
}

#[test]
fn libraries_say_what_they_are_and_have() {
    let library = in_rust();
    assert_eq!(library.name, format!("acme-codes {}", env!("CARGO_PKG_VERSION")));
    assert!(library.built_by.starts_with("rustc "), "{}", library.built_by);
    assert_eq!(library.manifest.abi, format!("{MAJOR}.{MINOR}"));
    assert_eq!(in_c().name, "acme-bf16 1.0.0");
    let mut registry = Registry::new();
    library.register(&mut registry).unwrap();
    in_c().register(&mut registry).unwrap();
    let of = |slot, tag| registry.entry(slot, tag).unwrap();
    let q6 = of(Slot::Quantizer, "acme.q6");
    assert!(q6.loaded && q6.origin == library.name);
    assert_eq!(q6.schema.pointer("/properties/group/maximum"), Some(&json!(4096)));
    assert_eq!(of(Slot::Quantizer, "acme.bf16").origin, "acme-bf16 1.0.0");
    for entry in [q6, of(Slot::PrivacyPolicy, "acme.clip"), of(Slot::Quantizer, "acme.bf16")] {
        assert!(entry.schema.get("description").is_some(), "{} has no help", entry.tag);
    }
    assert!(matches!(library.register(&mut registry), Err(LibraryError::Tag(_))));
}

#[test]
fn a_library_is_loaded_once() {
    let path = rust("acme_codes");
    let detour = path.parent().unwrap().join(".").join(path.file_name().unwrap());
    assert!(std::ptr::eq(
        Library::named_by_user(&path).unwrap(),
        Library::named_by_user(&detour).unwrap()
    ));
}

#[test]
fn the_quantizer_in_rust_keeps_the_laws() {
    in_rust();
    quantizer::conformance(&|| quantizer_of("acme.q6", json!({ "group": 64 })));
}

#[test]
fn the_quantizer_in_c_keeps_the_laws() {
    in_c();
    quantizer::conformance(&|| quantizer_of("acme.bf16", json!({})));
}

#[test]
fn the_policy_in_rust_keeps_the_laws() {
    in_rust();
    for objective in [CLASSES, Objective::Regression] {
        let config: Box<dyn PrivacyPolicyConfig> = config("acme.clip", json!({ "norm": 1.5 }));
        privacy::conformance(&*config, objective);
    }
}

/// A row that shows what the codes do: 0.1 is none of theirs.
const ROW: [f32; 5] = [1.0, -1.0, 0.0, 0.1, 31.0];

#[test]
fn linked_in_and_loaded_give_the_same_bytes() {
    in_rust();
    let options = json!({ "group": 4 });
    let linked: acme_codes::Q6Config = serde_json::from_value(options.clone()).unwrap();
    let (linked, loaded) = (linked.build(), quantizer_of("acme.q6", options));
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let rows = cleared(&ROW, 1);
    encode(&*linked, &rows, &mut here).unwrap();
    encode(&*loaded, &rows, &mut there).unwrap();
    assert_eq!(here, there);
    assert_eq!(linked.error_bound(&ROW), loaded.error_bound(&ROW));
}

#[test]
fn bf16_keeps_eight_bits() {
    in_c();
    let quantizer = quantizer_of("acme.bf16", json!({}));
    let mut bytes = Vec::new();
    encode(&*quantizer, &cleared(&ROW, 1), &mut bytes).unwrap();
    let mut values = Vec::new();
    decode(&*quantizer, &Payload::parse(&bytes, &*quantizer, (1, ROW.len())).unwrap(), &mut values)
        .unwrap();
    assert_eq!(values, [1.0, -1.0, 0.0, 0.100_097_656, 31.0]);
}

#[test]
fn a_value_that_c_refuses_is_named_with_its_place() {
    in_c();
    let quantizer = quantizer_of("acme.bf16", json!({}));
    let rows = cleared(&[0.0, 1.0, 2.0, f32::MAX], 2);
    let error = encode(&*quantizer, &rows, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, QuantizeError::Value { row: 1, column: 1, value: f32::MAX, .. }),
        "{error}"
    );
    assert!(error.to_string().ends_with("expected a magnitude up to 3.3895314e38"), "{error}");
}

#[test]
fn wrong_data_is_refused_on_the_other_side() {
    in_rust();
    in_c();
    let name = |tag: &str| format!("quantizer `{tag}` of ");
    for (tag, bytes, begins, expected) in [
        (
            "acme.q6",
            &[0, 0, 0x80, 0xbf, 0, 0, 0][..],
            name("acme.q6"),
            "a step is negative or not finite",
        ),
        ("acme.bf16", &[0, 0, 0x80, 0x7f, 0, 0, 0, 0], name("acme.bf16"), "not finite"),
        // The host sees this without a call.
        ("acme.q6", &[0; 6], "payload: ".to_owned(), "expected 1 rows of 7 bytes, got 6 bytes"),
        ("acme.bf16", &[0; 7], "payload: ".to_owned(), "expected 1 rows of 8 bytes, got 7 bytes"),
    ] {
        let quantizer = quantizer_of(tag, json!({}));
        let format = quantizer.format();
        let payload = Payload { format, rows: 1, hidden: 4, row_bytes: bytes.len(), bytes };
        let error = quantizer.decode_rows(&payload, &mut [0.0; 4]).unwrap_err().to_string();
        assert!(error.starts_with(&begins) && error.contains(expected), "{error}");
    }
}

#[test]
fn wrong_options_are_told_with_their_place() {
    in_rust();
    in_c();
    let findings = |tag: &str, options: Value| {
        let config: Box<dyn QuantizerConfig> = config(tag, options);
        config.check(64).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        findings("acme.q6", json!({ "group": 66 })),
        ["group: groups of 66 values are not supported; expected a multiple of 4 from 4 to 4096"]
    );
    let unknown = findings("acme.q6", json!({ "groups": 64 }));
    assert!(unknown[0].contains("unknown field `groups`"), "{unknown:?}");
    let unknown = findings("acme.bf16", json!({ "bits": 8 }));
    assert!(unknown[0].contains("acme.bf16 has no options"), "{unknown:?}");
    let nobody = findings("acme.q7", json!({}));
    assert!(nobody[0].contains("name its library in `[plugins] load`"), "{nobody:?}");
    let options = json!({ "norm": 0.0 });
    let config: Box<dyn PrivacyPolicyConfig> = config("acme.clip", options);
    assert_eq!(config.check(&CLASSES)[0].path, "norm");
}

#[test]
fn what_is_no_library_is_refused() {
    let text = scratch().join("text.so");
    fs::write(&text, "no library").unwrap();
    let missing = PathBuf::from("nowhere/libnothing.so");
    for (path, expected) in
        [(&missing, "is the path right?"), (&text, "expected a dynamic library")]
    {
        let error = Library::named_by_user(path).unwrap_err();
        assert!(matches!(error, LibraryError::Load { .. }), "{error:?}");
        let error = error.to_string();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}
