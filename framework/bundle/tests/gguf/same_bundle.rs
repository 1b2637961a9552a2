//! A model becomes the same bundle from the folder of Hugging Face and from GGUF.

use std::fs;

use mobillm_bundle::network::Network;
use mobillm_bundle::{Bundle, ImportOptions, WeightFormat, import};

use crate::models::{converted, family, imported};

fn frequencies(network: &mut Network) -> Vec<f32> {
    std::mem::take(&mut network.attention.rotary.as_mut().unwrap().frequencies)
}

#[test]
fn a_model_becomes_the_same_bundle_from_either_format() {
    for name in ["llama", "llama-tied", "mistral", "qwen2", "qwen3"] {
        let family = family(name);
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("model");
        family.write(&source).unwrap();
        let (_kept, ours) = imported(&converted(&family, &source));
        fs::copy(ours.path().join("tokenizer.json"), source.join("tokenizer.json")).unwrap();
        let theirs =
            import(&source, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();

        let (mut one, mut other) =
            (ours.network().unwrap().clone(), theirs.network().unwrap().clone());
        let pairs = frequencies(&mut one).into_iter().zip(frequencies(&mut other));
        for (got, expected) in pairs {
            assert!((got / expected - 1.0).abs() < 1e-6, "{name}: {got} {expected}");
        }
        assert_eq!(one, other, "{name}");
        let weights = |bundle: &Bundle| fs::read(bundle.weights_path()).unwrap();
        assert!(weights(&ours) == weights(&theirs), "{name}: other weights");
        assert_eq!(ours.weight_format(), WeightFormat::F32);
        // Llama 3's numbers, which are a tensor here, may differ in their last bit.
        if name != "llama-tied" {
            assert_eq!(ours.info(), theirs.info(), "{name}");
        }
    }
}

#[test]
fn biases_of_queries_and_keys_are_put_back_too() {
    let family = family("llama-biased");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("model");
    family.write(&source).unwrap();
    let file = converted(&family, &source)
        .metadata("llama.rope.scaling.type", "linear")
        .metadata("llama.rope.scaling.factor", 2.0_f32);
    let (_kept, ours) = imported(&file);
    let theirs = import(&source, &folder.path().join("bundle"), &ImportOptions::default()).unwrap();
    // A GGUF file always has a head: without `output.weight` it is the embedding.
    assert!(ours.info().language_head && !theirs.info().language_head);
    assert_eq!(ours.network().unwrap().attention, theirs.network().unwrap().attention);
    let (ours, theirs) = (ours.weights().unwrap(), theirs.weights().unwrap());
    for name in theirs.names() {
        assert_eq!(ours.tensor(name).unwrap().bytes, theirs.tensor(name).unwrap().bytes, "{name}");
    }
}

#[test]
fn positions_are_stretched_linearly_unless_the_file_says_otherwise() {
    let family = family("llama");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("model");
    family.write(&source).unwrap();
    let plain = converted(&family, &source);
    let of = |kind: Option<&str>, factors: &[(&str, f32)]| {
        let file = kind
            .into_iter()
            .fold(plain.clone(), |file, kind| file.metadata("llama.rope.scaling.type", kind));
        let file = factors
            .iter()
            .fold(file, |file, (key, factor)| file.metadata(&format!("llama.rope.{key}"), *factor));
        let (_kept, bundle) = imported(&file);
        frequencies(&mut bundle.network().unwrap().clone())
    };
    let whole = of(None, &[]);
    let slowed = |by: f32| -> Vec<f32> { whole.iter().map(|frequency| frequency / by).collect() };
    let (new, old) = (("scaling.factor", 4.0), ("scale_linear", 2.0));
    for kind in [None, Some("linear")] {
        assert_eq!(of(kind, &[new]), slowed(4.0), "{kind:?}");
        assert_eq!(of(kind, &[old]), slowed(2.0), "{kind:?}");
        assert_eq!(of(kind, &[old, new]), slowed(4.0), "{kind:?}");
    }
    assert_eq!(of(Some("none"), &[old, new]), whole);
}
