//! What cannot be imported is refused, and says why; a damaged file never does worse.

use std::fs;

use mobillm_bundle::{ImportOptions, import};
use mobillm_gguf::fixture::{GgufBuilder, Raw};
use mobillm_gguf::{Gguf, TensorType};
use proptest::prelude::*;

use crate::models::{blocks, bytes, converted, family, quantized, try_import, written};

#[track_caller]
fn refused(file: &GgufBuilder, words: &[&str]) {
    let error = try_import(file, &ImportOptions::default()).unwrap_err();
    for word in words.iter().chain(&["model.gguf"]) {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

fn sound() -> GgufBuilder {
    quantized(&[TensorType::Q4_0; 8], 9)
}

#[test]
fn architectures_that_are_not_known_are_refused() {
    refused(
        &sound().metadata("general.architecture", "mamba"),
        &["\"mamba\"", "\"llama\", \"mistral\", \"qwen2\", \"qwen3\""],
    );
    refused(
        &sound().without("general.architecture"),
        &["general.architecture", "is missing", "\"qwen3\""],
    );
    refused(
        &sound().metadata("general.architecture", 5_u8),
        &["general.architecture", "expected text"],
    );
    refused(&sound().metadata("general.type", "adapter"), &["general.type", "expected \"model\""]);
    refused(&sound().metadata("split.count", 3_u16), &["one file of 3", "merge"]);
}

#[test]
fn computations_that_are_not_known_are_refused() {
    for (key, value, words) in [
        ("llama.expert_count", Raw::from(8_u32), "is 8"),
        ("llama.attention.scale", Raw::from(0.1_f32), "is 0.1"),
        ("llama.logit_scale", Raw::from(2.0_f32), "is 2"),
        ("llama.attention.causal", Raw::from(false), "is false"),
        ("llama.rope.scaling.type", Raw::from("yarn"), "is \"yarn\""),
        ("llama.rope.scaling.attn_factor", Raw::from(1.5_f32), "is 1.5"),
        ("llama.rope.dimension_count", Raw::from(32_u32), "expected 64"),
        ("llama.attention.value_length", Raw::from(32_u32), "expected 64"),
        ("llama.pooling_type", Raw::from(4_u32), "is 4"),
    ] {
        refused(&sound().metadata(key, value), &[key, words]);
    }
    refused(
        &sound().metadata("llama.rope.scaling.type", "linear"),
        &["rope.scaling.factor", "is missing"],
    );
}

#[test]
fn sizes_that_contradict_the_tensors_are_refused() {
    let with = |key: &str, value: u32| sound().metadata(&format!("llama.{key}"), value);
    refused(&with("embedding_length", 512), &["token_embd.weight", "[40, 256]", "[40, 512]"]);
    refused(&with("feed_forward_length", 255), &["ffn_gate.weight", "[256, 256]", "[255, 256]"]);
    refused(&with("block_count", 2), &["blk.1.attn_norm.weight", "is missing"]);
    refused(&with("block_count", 1 << 31), &["blk.1.attn_norm.weight", "is missing"]);
    refused(&with("attention.head_count_kv", 4), &["attn_k.weight", "[128, 256]"]);
    refused(&with("attention.head_count_kv", 3), &["head_count_kv", "divisor of the 4 heads"]);
    let three = with("attention.head_count", 3).metadata("llama.attention.head_count_kv", 3_u32);
    refused(&three, &["embedding_length", "multiple of the 3 heads"]);
    refused(&with("attention.head_count", 256), &["makes heads 1 wide"]);
    refused(&with("attention.key_length", 1 << 20), &["expected even and up to"]);
    for key in ["block_count", "embedding_length", "context_length", "attention.head_count"] {
        refused(&with(key, 0), &[key, "is 0"]);
        refused(&with(key, u32::MAX), &[key, "is 4294967295"]);
        refused(&sound().without(&format!("llama.{key}")), &[key, "is missing"]);
    }
    let per_layer = Raw::array([2_u32, 2]);
    refused(
        &sound().metadata("llama.attention.head_count_kv", per_layer),
        &["an array of 2 elements"],
    );
    refused(
        &sound().metadata("llama.rope.freq_base", 1e300_f64),
        &["rope.freq_base", "pair 1 of a head turns by 0"],
    );
    refused(
        &sound().metadata("llama.rope.scaling.factor", 1e-40_f64),
        &["pair 0 of a head turns by inf"],
    );
    for theta in [f32::NAN, f32::INFINITY, 0.5, -1.0] {
        refused(&sound().metadata("llama.rope.freq_base", theta), &["rope.freq_base"]);
    }
}

#[test]
fn tensors_that_do_not_belong_are_refused() {
    let one = |name: &str, shape: &[usize]| {
        let values = vec![0.0; shape.iter().product()];
        sound().tensor(name, shape, TensorType::F32, &bytes(&values))
    };
    refused(
        &one("blk.0.ffn_gate_exps.weight", &[4]),
        &["blk.0.ffn_gate_exps.weight", "has no place"],
    );
    refused(&one("blk.1.attn_q.weight", &[4]), &["blk.1.attn_q.weight", "has no place"]);
    refused(&one("token_embd.weight", &[40]), &["token_embd.weight", "expected a matrix"]);
    refused(&one("rope_freqs.weight", &[3]), &["rope_freqs.weight", "expected [32]"]);
    refused(&one("rope_freqs.weight", &[32]), &["rope_freqs.weight", "factor 0"]);
    let tiny = bytes(&[1e-40; 32]);
    refused(
        &sound().tensor("rope_freqs.weight", &[32], TensorType::F32, &tiny),
        &["rope_freqs.weight", "turns by inf"],
    );
    // A scale that is no number.
    let mut broken = blocks(TensorType::Q4_0, 256 * 256 / 32, 1);
    broken[18 + 1] = 0x7e;
    let file = sound().tensor("blk.0.attn_output.weight", &[256, 256], TensorType::Q4_0, &broken);
    refused(&file, &["blk.0.attn_output.weight", "NaN"]);
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let file = sound().build();
    for length in [0, 3, 100, file.len() / 2, file.len() - 1] {
        fs::write(&path, &file[..length]).unwrap();
        let error = import(&path, &folder.path().join("bundle"), &ImportOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("model.gguf") && error.contains("fetch it again"), "{error}");
    }
    let missing = import(
        &folder.path().join("none.gguf"),
        &folder.path().join("bundle"),
        &ImportOptions::default(),
    );
    assert!(missing.unwrap_err().to_string().contains("none.gguf"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let family = family("qwen3");
        family.write(folder.path()).unwrap();
        let mut file = converted(&family, folder.path()).build();
        let header = Gguf::parse(&file).unwrap().tensors()[0].range().start;
        for (at, byte) in changes {
            file[at.index(header)] = byte;
        }
        let _ = written(&file, &ImportOptions::default());
    }
}
