//! Version 1.0 of the ABI is as it was when it was frozen: `abi-1.0` holds its header and its JSON, which nobody
//! writes again.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod libraries;

use std::collections::{BTreeMap, BTreeSet};

use libraries::{c, cleared, config, repository};
use mobillm_core::quantizer::{QuantizerConfig, encode};
use mobillm_plugin::Library;
use serde_json::json;

const EXAMPLE: &str = "examples/plugins/c/acme_bf16.c";
const FROZEN: &str = "framework/plugin/tests/abi-1.0";
const TODAY: &str = "framework/plugin/include";

/// What may get more fields, at its end.
const GROWS: [&str; 8] = [
    "MobillmBackbone",
    "MobillmHost",
    "MobillmPlugin",
    "MobillmPrivacyPolicy",
    "MobillmQuantizer",
    "MobillmSelector",
    "MobillmSideNetwork",
    "MobillmTransport",
];

/// What a header in this folder says, without comments.
fn header(folder: &str) -> String {
    let text = std::fs::read_to_string(repository(folder).join("mobillm_plugin.h")).unwrap();
    let (_guide, text) = text.split_once("*/").unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fields of each struct.
fn structs(header: &str) -> BTreeMap<String, Vec<String>> {
    let of = |text: &str| {
        let (fields, rest) = text.split_once("\n} ").unwrap();
        let name = rest.split(';').next().unwrap().to_owned();
        (name, fields.split(';').map(words).filter(|field| !field.is_empty()).collect())
    };
    header.split("typedef struct {").skip(1).map(of).collect()
}

/// Every constant and every other type.
fn others(header: &str) -> BTreeSet<String> {
    let minor = |line: &&str| !line.starts_with("#define MOBILLM_MINOR ");
    let constants = header.lines().filter(|line| line.starts_with("#define ")).filter(minor);
    let types = header.split(';').filter_map(|text| text.rfind("typedef ").map(|at| &text[at..]));
    let types = types.filter(|text| !text.contains('{') && !text.contains('}'));
    constants.chain(types).map(words).collect()
}

#[test]
fn nothing_of_it_has_moved() {
    let (frozen, today) = (header(FROZEN), header(TODAY));
    let structs_today = structs(&today);
    let frozen_structs = structs(&frozen);
    assert_eq!(frozen_structs.len(), 24, "the frozen header is whole");
    for (name, fields) in frozen_structs {
        let now = &structs_today[&name];
        let now = if GROWS.contains(&&*name) { &now[..fields.len().min(now.len())] } else { now };
        assert_eq!(now, fields, "{name}");
    }
    let (was, is) = (others(&frozen), others(&today));
    assert!(was.len() > 30, "the frozen header is whole");
    assert_eq!(was.difference(&is).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_plugin_that_was_built_for_it_is_loaded_and_run() {
    // The folder of a quoted include is looked at before others.
    let folder = repository(FROZEN);
    let library =
        Library::named_by_user(&c(EXAMPLE, &["-iquote", folder.to_str().unwrap()])).unwrap();
    assert_eq!(library.manifest.abi, "1.0");
    let quantizer: Box<dyn QuantizerConfig> = config("acme.bf16", json!({}));
    assert_eq!(quantizer.check(2), []);
    let mut bytes = Vec::new();
    encode(&*quantizer.build(), &cleared(&[1.0, 2.0], 1), &mut bytes).unwrap();
    assert_eq!(bytes.len(), mobillm_core::quantizer::HEADER_BYTES + 4);
}
