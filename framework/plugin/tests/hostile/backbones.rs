use std::path::Path;

use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, ForwardContext, NativeLibraries, Tap,
    TokenBatch, Tokens,
};
use serde_json::{Value, json};

use crate::libraries::config;
use crate::{in_c, in_rust, info, names};

fn build(tag: &str, options: Value) -> Result<Box<dyn Backbone>, BackboneError> {
    let config: Box<dyn BackboneConfig> = config(tag, options);
    config.build(&BackboneContext {
        bundle: Path::new("nowhere").to_owned(),
        taps: vec![1],
        label_tokens: Vec::new(),
        libraries: NativeLibraries::default(),
    })
}

fn forward(backbone: &mut dyn Backbone) -> Result<usize, BackboneError> {
    let tokens = Tokens { ids: vec![1, 2], segments: vec![0, 0] };
    let mut taps = 0;
    let mut count = |_: Tap<'_>| {
        taps += 1;
        Ok(())
    };
    backbone.forward(&TokenBatch::new([&tokens], 0), &ForwardContext::default(), &mut count)?;
    Ok(taps)
}

#[test]
fn a_panic_is_contained() {
    let library = in_rust();
    let name = "backbone `hostile.panics`";
    let config: Box<dyn BackboneConfig> = config("hostile.panics", json!({ "at": "check" }));
    let found = config.check(&info())[0].to_string();
    names(&found, name, &library, "check panicked", "the fuse in check blew");
    for at in ["build", "info"] {
        let error = build("hostile.panics", json!({ "at": at })).err().unwrap().to_string();
        names(&error, name, &library, at, &format!("the fuse in {at} blew"));
    }
    let mut backbone = build("hostile.panics", json!({ "at": "forward" })).unwrap();
    let error = forward(backbone.as_mut()).unwrap_err().to_string();
    names(&error, name, &library, "forward panicked", "the fuse in forward blew");
    let error = forward(backbone.as_mut()).unwrap_err().to_string();
    names(&error, name, &library, "forward", "forward panicked before");
    let mut sound = build("hostile.panics", json!({ "at": "nothing" })).unwrap();
    assert_eq!(forward(sound.as_mut()).unwrap(), 1);
}

#[test]
fn lies_are_told() {
    let library = in_c();
    let error = build("hostile.info-lies", json!({})).err().unwrap().to_string();
    let expected = "layer 1 is tapped, but the model has layers 0 to 0";
    names(&error, "backbone `hostile.info-lies`", &library, "info", expected);
    for (fault, expected) in
        [("no-tap", "layer 1 did not come"), ("null-tap", "missing"), ("wrong-tap", "5")]
    {
        let mut backbone = build(&format!("hostile.{fault}"), json!({})).unwrap();
        let error = forward(backbone.as_mut()).unwrap_err().to_string();
        let call = "forward gave something wrong";
        names(&error, &format!("backbone `hostile.{fault}`"), &library, call, expected);
    }
}
