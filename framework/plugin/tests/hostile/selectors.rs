use mobillm_core::activations::Selected;
use mobillm_core::backbone::Tap;
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use ndarray::Array3;
use serde_json::json;

use crate::libraries::config;
use crate::{in_c, in_rust, info, names};

fn select(selector: &dyn Selector) -> Result<Selected, SelectorError> {
    let hidden = Array3::zeros((2, 3, 4));
    let tap = Tap { layer: 1, hidden: hidden.view(), lengths: &[3, 2] };
    selector.select(&tap, Vec::new())
}

#[test]
fn a_panic_is_contained() {
    let library = in_rust();
    for at in ["check", "build", "layers", "rows"] {
        let config: Box<dyn SelectorConfig> = config("hostile.panics", json!({ "at": at }));
        let found = config.check(&info());
        let call = format!("{at} panicked");
        names(&found[0].to_string(), "selector `hostile.panics`", &library, &call, "blew");
    }
    let config: Box<dyn SelectorConfig> = config("hostile.panics", json!({ "at": "select" }));
    let selector = config.build(&info());
    let error = select(&*selector).unwrap_err().to_string();
    names(
        &error,
        "selector `hostile.panics`",
        &library,
        "select panicked",
        "the fuse in select blew",
    );
    let error = select(&*selector).unwrap_err().to_string();
    assert!(error.contains("select panicked before"), "{error}");
}

#[test]
fn lies_are_told() {
    let library = in_c();
    for (fault, call, expected) in [
        ("layers-are-no-json", "layers", "EOF"),
        ("layers-descend", "layers", "[2, 1], expected at least one of 0 to 2, ascending"),
        ("fixed-is-no-flag", "rows", "`fixed` is 2, expected 0 or 1"),
    ] {
        let config: Box<dyn SelectorConfig> = config(&format!("hostile.{fault}"), json!({}));
        let found = config.check(&info());
        names(
            &found[0].to_string(),
            &format!("selector `hostile.{fault}`"),
            &library,
            call,
            expected,
        );
    }
    for (fault, expected) in [
        ("no-rows", "no rows"),
        ("rows-twice", "twice"),
        ("null-tensor", "the tensor is missing"),
        ("null-layout", "layout"),
        ("wrong-shape", "rows of 5 values, expected 4"),
        ("overflowing-shape", "the tensor's shape is [9223372036854775807, 4]"),
        ("wrong-strides", "the tensor's strides is [1, 3], expected [4, 1]"),
        ("wrong-address", "expected \"a multiple of 4\""),
        ("wrong-device", "the tensor's device is 2"),
        ("wrong-offsets", "4294967295"),
        ("selects-padding", "sample 0 has a row of token 3, but 3 tokens"),
    ] {
        let config: Box<dyn SelectorConfig> = config(&format!("hostile.{fault}"), json!({}));
        assert_eq!(config.check(&info()), [], "{fault}");
        let error = select(&*config.build(&info())).unwrap_err().to_string();
        let call = "select gave something wrong";
        names(&error, &format!("selector `hostile.{fault}`"), &library, call, expected);
    }
}
