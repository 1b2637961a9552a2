//! The limit of memory, which is that of the process: this one is of its own.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::fixture::TinyDecoder;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneError, ForwardContext, Tap, TokenBatch, Tokens,
};

#[path = "all/setup.rs"]
mod setup;

fn forward(backbone: &mut dyn Backbone, samples: usize) -> Result<(), BackboneError> {
    let tokens = vec![Tokens { ids: vec![9; 48], segments: vec![0; 48] }; samples];
    let batch = TokenBatch::new(&tokens, 0);
    backbone.forward(&batch, &ForwardContext::default(), &mut |_: Tap<'_>| Ok(())).map(|_| ())
}

#[test]
fn a_batch_over_the_limit_fails_and_the_next_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyDecoder::default().bundle(&folder.path().join("bundle")).unwrap();
    let context = setup::context(&bundle, &[0, 3]);
    let with = |memory_limit_mb, arena| OnnxBackboneConfig {
        memory_limit_mb,
        arena,
        ..OnnxBackboneConfig::default()
    };
    let mut limited = with(Some(4), true).build(&context).unwrap();
    forward(&mut *limited, 4).unwrap();
    // A layer's feed-forward part alone needs 1000 * 48 * 96 floats: 18 MB.
    let error = forward(&mut *limited, 1000).unwrap_err().to_string();
    for part in ["1000 samples of 48 tokens", "4 MB of `memory_limit_mb`", "micro_batch_tokens"] {
        assert!(error.contains(part), "{error}");
    }
    forward(&mut *limited, 4).unwrap();

    // The arena is the process's: one limit, and backbones without one are not concerned.
    with(Some(4), true).build(&context).unwrap();
    let error = with(Some(5), true).build(&context).err().unwrap().to_string();
    assert!(error.contains("has a memory limit of 4 MB already"), "{error}");
    forward(&mut *setup::build(&bundle, &[0, 3]), 1000).unwrap();
    forward(&mut *with(None, false).build(&context).unwrap(), 1000).unwrap();
}
