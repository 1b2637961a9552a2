//! What is wrong before anything is built.

use mobillm_core::quantizer::{QuantizerConfig, encode};
use mobillm_plugin::{Library, LibraryError};
use serde_json::json;

use crate::libraries::{c, cleared, config};
use crate::{HOSTILE, names};

fn refused(flag: &str) -> LibraryError {
    Library::named_by_user(&c(HOSTILE, &[flag])).unwrap_err()
}

#[test]
fn of_another_kind_or_version_is_refused_with_what_to_do() {
    for (flag, what, got, remedy) in [
        (
            "-DHEADER_MAGIC={1}",
            "the magic",
            "\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00",
            "is it a plugin of mobillm?",
        ),
        ("-DHEADER_MAJOR=0", "the ABI's major version", "0", "get a newer version of the plugin"),
        ("-DHEADER_MAJOR=9", "the ABI's major version", "9", "get a newer mobillm"),
        ("-DHEADER_SIZE=24", "the header's size", "24", "get a newer version of the plugin"),
        ("-DSTART=NULL", "the header", "a null at byte 72", "tell the plugin's author"),
        ("-DNO_HEADER=1", "the header", "0x0", "tell the plugin's author"),
        ("-DNO_SYMBOL", "the exported symbol", "missing", "is it a plugin of mobillm?"),
    ] {
        let error = refused(flag);
        assert!(matches!(error, LibraryError::Abi { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(&format!(": {what} is {got}, expected ")), "{message}");
        assert!(message.ends_with(remedy), "{message}");
    }
}

#[test]
fn whose_functions_fail_are_refused() {
    for (flag, call) in [
        ("-DSTART_STATUS=2", "start"),
        ("-DSTART_STATUS=MOBILLM_PANICKED", "start"),
        ("-DCOMPONENTS=\"[\"", "components"),
        ("-DCOMPONENTS=\"[{}]\"", "components"),
        ("-DCOMPONENTS=\"\\xff\"", "components"),
    ] {
        let error = refused(flag);
        assert!(matches!(&error, LibraryError::Start { call: at, .. } if *at == call), "{error:?}");
    }
}

#[test]
fn a_start_that_failed_is_not_tried_again() {
    let path = c(HOSTILE, &["-DSTART_STATUS=2", "-DHEADER_MINOR=2"]);
    let first = Library::named_by_user(&path).unwrap_err().to_string();
    assert!(first.contains("start") && !first.contains("started again"), "{first}");
    assert_eq!(Library::named_by_user(&path).unwrap_err().to_string(), first);
}

#[test]
fn a_newer_library_is_used_as_far_as_it_is_known() {
    let listed =
        json!([{ "slot": "quantizer", "tag": "hostile.newer", "schema": {}, "icon": "*" }]);
    let components = format!("-DCOMPONENTS={:?}", listed.to_string());
    let sizes =
        ["-DHEADER_SIZE=sizeof(MobillmPlugin)+8", "-DTABLE_SIZE=sizeof(MobillmQuantizer)+8"];
    let library =
        Library::named_by_user(&c(HOSTILE, &["-DHEADER_MINOR=7", sizes[0], sizes[1], &components]))
            .unwrap();
    assert_eq!(library.manifest.abi, "1.7");
    let config: Box<dyn QuantizerConfig> = config("hostile.newer", json!({}));
    assert_eq!(config.build().row_bytes(64), 64);
}

#[test]
fn a_table_that_is_short_or_missing_is_told_when_it_is_asked_for() {
    for (tag, flag, expected) in [
        ("hostile.no-table", "-DNO_TABLE=1", "there is no table of the slot quantizer"),
        ("hostile.short-table", "-DTABLE_SIZE=16", "the table has 16 bytes, expected at least"),
    ] {
        let listed = json!([{ "slot": "quantizer", "tag": tag, "schema": {} }]).to_string();
        Library::named_by_user(&c(HOSTILE, &[flag, &format!("-DCOMPONENTS={listed:?}")])).unwrap();
        let config: Box<dyn QuantizerConfig> = config(tag, json!({}));
        let found = config.check(64)[0].to_string();
        names(&found, &format!("quantizer `{tag}`"), "hostile-c 1.0.0", "table", expected);
        let error = encode(&*config.build(), &cleared(&[1.0], 1), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
