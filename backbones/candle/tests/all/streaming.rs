//! Taps leave between the layers, and no more layers run than are needed.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

use mobillm_backbone_candle::CandleBackboneConfig;
use mobillm_bundle::Bundle;
use mobillm_bundle::fixture::{TinyBert, TinyDecoder};
use mobillm_core::backbone::{BackboneConfig, ForwardContext, Tap, TokenBatch, Tokens};

use crate::setup;

fn batch() -> TokenBatch {
    let tokens = |ids: Vec<u32>| Tokens { segments: vec![0; ids.len()], ids };
    TokenBatch::new(&[tokens(vec![2, 5, 6, 3]), tokens(vec![2, 7, 3])], 0)
}

/// Zeros in the place of the values of tensor `name`, in the file that backbones have mapped.
fn erase(bundle: &Bundle, name: &str) {
    let weights = bundle.weights().unwrap();
    let location = weights.location(name).unwrap();
    let mut file = File::options().write(true).open(bundle.weights_path()).unwrap();
    file.seek(SeekFrom::Start(location.offset as u64)).unwrap();
    file.write_all(&vec![0; location.length]).unwrap();
}

/// Without its two output maps a layer adds nothing to its input: whoever takes them away when a tap
/// comes finds that input behind the next layer, unless that layer has already run.
#[test]
fn a_tap_is_handed_out_before_the_next_layer_reads_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyDecoder::default().bundle(&folder.path().join("bundle")).unwrap();
    let mut backbone = setup::build(&bundle, &[0, 1, 2, 3], &[]);
    let mut taps = Vec::new();
    let mut sink = |tap: Tap<'_>| {
        if tap.layer == 1 {
            erase(&bundle, "layers.1.attention.output.weight");
            erase(&bundle, "layers.1.feed_forward.down.weight");
        }
        taps.push(tap.hidden.to_owned());
        Ok(())
    };
    backbone.forward(&batch(), &ForwardContext::default(), &mut sink).unwrap();
    assert_ne!(taps[0], taps[1]);
    assert_eq!(taps[1], taps[2]);
    assert_ne!(taps[2], taps[3]);
}

#[test]
fn layers_above_the_highest_tap_are_not_even_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let mut manifest = bundle.manifest().clone();
    manifest.model.layers += 1;
    manifest.model.bundle = manifest.fingerprint();
    let path = bundle.path().join("manifest.json");
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let (taps, own) = setup::forward(&mut *setup::build(&bundle, &[0, 3], &[]), &batch());
    assert_eq!((taps.len(), own), (2, None));
    let context = setup::context(&bundle, &[4], &[]);
    let error = CandleBackboneConfig::default().build(&context).err().unwrap().to_string();
    assert!(error.contains("layers.3."), "{error}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyDecoder::default().bundle(&folder.path().join("bundle")).unwrap();
    let context = setup::context(&bundle, &[0, 2, 3], &[3, 9]);
    let run = |threads| {
        let config = CandleBackboneConfig { threads: Some(threads) };
        setup::forward(&mut *config.build(&context).unwrap(), &batch())
    };
    let one = run(1);
    assert!([2, 3, 7].map(run).iter().all(|many| *many == one));
}
