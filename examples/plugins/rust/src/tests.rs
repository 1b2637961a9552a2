//! The laws of both slots, natively and through the door of this library in this process.

use std::sync::OnceLock;

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{PrivacyPolicyConfig, Purpose, ReleaseContext, release};
use mobillm_core::quantizer::QuantizerConfig;
use mobillm_core::sample::{Objective, SampleId};
use mobillm_plugin::Library;
use mobillm_testkit::{privacy, quantizer};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const CLASSES: Objective = Objective::Classification { classes: 3 };

/// The config twin as a config loader makes it of `tag` and `options` once the library is loaded.
fn loaded<C: DeserializeOwned>(tag: &str, options: Value) -> C {
    static LIBRARY: OnceLock<&Library> = OnceLock::new();
    // SAFETY: the door is of `export!`.
    LIBRARY.get_or_init(|| unsafe { Library::linked("acme-codes", mobillm_plugin) }.unwrap());
    serde_json::from_value(json!({ "type": "loaded", "tag": tag, "options": options })).unwrap()
}

#[test]
fn the_library_lists_what_register_registers() {
    let (mut linked, mut listed) = (Registry::new(), Registry::new());
    register(&mut linked).unwrap();
    // SAFETY: the door is of `export!`.
    let library = unsafe { Library::linked("listed", mobillm_plugin) }.unwrap();
    library.register(&mut listed).unwrap();
    let entries = |registry: &Registry| {
        let of = registry.entries().map(|entry| (entry.slot, entry.tag, entry.schema.clone()));
        of.collect::<Vec<_>>()
    };
    assert_eq!(entries(&linked), entries(&listed));
    assert_eq!(library.name, format!("acme-codes {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn q6_is_a_quantizer() {
    for group in [4, 64, 4096] {
        quantizer::conformance(&|| Q6Config { group }.build());
    }
}

#[test]
fn q6_is_a_quantizer_behind_its_door() {
    let config: Box<dyn QuantizerConfig> = loaded("acme.q6", json!({ "group": 64 }));
    quantizer::conformance(&|| config.build());
}

#[test]
fn clip_is_a_policy() {
    for objective in [CLASSES, Objective::Regression] {
        privacy::conformance(&ClipConfig { norm: 1.5 }, objective);
    }
}

#[test]
fn clip_is_a_policy_behind_its_door() {
    let config: Box<dyn PrivacyPolicyConfig> = loaded("acme.clip", json!({ "norm": 1.5 }));
    for objective in [CLASSES, Objective::Regression] {
        privacy::conformance(&*config, objective);
    }
}

#[test]
fn q6_takes_6_bits_a_value_and_4_bytes_a_group() {
    let quantizer = Q6Config::default().build();
    assert_eq!(quantizer.row_bytes(576), 9 * (4 + 48));
    assert_eq!(quantizer.row_bytes(65), 4 + 48 + 4 + 1);
    assert_eq!(quantizer.row_bytes(0), 0);
}

#[test]
fn a_group_that_is_not_supported_is_named() {
    let finding = |group| Q6Config { group }.check(64).first().map(ToString::to_string);
    assert_eq!(finding(4096), None);
    let expected = "expected a multiple of 4 from 4 to 4096";
    for group in [0, 3, 66, 4100] {
        let message = format!("group: groups of {group} values are not supported; {expected}");
        assert_eq!(finding(group), Some(message));
        // It still builds something that works, and says in its format what.
        assert_eq!(Q6Config { group }.build().format().block % 4, 0);
    }
    let read = serde_json::from_str::<Box<dyn QuantizerConfig>>;
    let error = read(r#"{ "type": "acme.q6", "groups": 64 }"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `groups`"), "{error}");
}

#[test]
fn long_rows_are_shortened_and_others_stay() {
    let rows = vec![3.0, 4.0, 0.3, 0.4, 3e38, -3e38];
    let selected = Selected::new(1, Layout::from_counts([3]), 2, rows).unwrap();
    let context = ReleaseContext { samples: &[SampleId(7)], purpose: Purpose::Train };
    let mut policy = ClipConfig { norm: 2.5 }.build(&CLASSES);
    let cleared = release(policy.as_mut(), &context, selected).unwrap();
    let half = (2.5 / f64::sqrt(2.0)) as f32;
    assert_eq!(cleared.into_values(), [1.5, 2.0, 0.3, 0.4, half, -half]);
}

#[test]
fn a_norm_that_is_none_is_named() {
    for norm in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let findings = ClipConfig { norm }.check(&CLASSES);
        assert_eq!(findings[0].path, "norm", "{norm}");
    }
}
