use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    PolicyError, PrivacyPolicy, PrivacyPolicyConfig, Purpose, ReleaseContext, combine, release,
    release_supervision,
};
use mobillm_core::sample::{SampleId, Truth};
use serde_json::{Value, json};

use crate::libraries::config;
use crate::{CLASSES, in_c, in_rust, names};

fn policy(tag: &str, options: Value) -> Box<dyn PrivacyPolicy> {
    let config: Box<dyn PrivacyPolicyConfig> = config(tag, options);
    assert_eq!(config.check(&CLASSES), [], "{tag}");
    config.build(&CLASSES)
}

fn rows(policy: &mut dyn PrivacyPolicy) -> Result<(), PolicyError> {
    let selected = Selected::new(1, Layout::from_counts([2]), 2, vec![1.0; 4]).unwrap();
    let context = ReleaseContext { samples: &[SampleId(1)], purpose: Purpose::Train };
    release(policy, &context, selected).map(drop)
}

fn label(policy: &mut dyn PrivacyPolicy) -> Result<(), PolicyError> {
    release_supervision(policy, "hostile", SampleId(1), Truth::Class(1), &[0.5; 3]).map(drop)
}

#[test]
fn a_panic_is_contained() {
    let library = in_rust();
    let name = "privacy policy `hostile.panics`";
    for at in ["check", "build", "info"] {
        let config: Box<dyn PrivacyPolicyConfig> = config("hostile.panics", json!({ "at": at }));
        let found = config.check(&CLASSES);
        names(&found[0].to_string(), name, &library, at, &format!("the fuse in {at} blew"));
    }
    let mut broken = policy("hostile.panics", json!({ "at": "activations" }));
    let error = rows(broken.as_mut()).unwrap_err().to_string();
    names(&error, name, &library, "activations panicked", "the fuse in activations blew");
    let error = label(broken.as_mut()).unwrap_err().to_string();
    names(&error, name, &library, "supervise", "activations panicked before");

    let mut broken = policy("hostile.panics", json!({ "at": "supervise" }));
    let error = label(broken.as_mut()).unwrap_err().to_string();
    names(&error, name, &library, "supervise panicked", "the fuse in supervise blew");

    let broken = policy("hostile.panics", json!({ "at": "combine" }));
    let error = combine(&*broken, &[0.0; 3], &mut [1.0; 3]).unwrap_err().to_string();
    names(&error, name, &library, "combine panicked", "the fuse in combine blew");
}

#[test]
fn lies_are_told() {
    let library = in_c();
    let config: Box<dyn PrivacyPolicyConfig> = config("hostile.info-is-no-json", json!({}));
    let found = config.check(&CLASSES)[0].to_string();
    let expected = "in \"supervision: everything\"";
    names(&found, "privacy policy `hostile.info-is-no-json`", &library, "info", expected);
    for (fault, expected) in [
        ("unknown-kind", "77"),
        ("null-numbers", "numbers of the supervision are at 0x0"),
        ("endless-numbers", "18446744073709551615"),
        ("tells-twice", "twice"),
    ] {
        let error = label(policy(&format!("hostile.{fault}"), json!({})).as_mut()).unwrap_err();
        let (error, call) = (error.to_string(), "supervise gave something wrong");
        names(&error, &format!("privacy policy `hostile.{fault}`"), &library, call, expected);
    }
    // These are lies that core finds in any policy.
    let error = label(policy("hostile.another-kind", json!({})).as_mut()).unwrap_err();
    assert!(error.to_string().contains("it announced supervision"), "{error}");
    let error = rows(policy("hostile.not-finite", json!({})).as_mut()).unwrap_err();
    assert!(matches!(error, PolicyError::NotFinite { layer: 1, row: 0, .. }), "{error}");
    let silent = policy("hostile.answers-nothing", json!({}));
    let error = combine(&*silent, &[0.0; 3], &mut [1.0; 3]).unwrap_err();
    assert!(matches!(error, PolicyError::Answer { output: 0, .. }), "{error}");
}
