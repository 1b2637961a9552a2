//! GGUF files: the model of a Hugging Face folder, written as llama.cpp writes it, becomes the same
//! bundle; quantized blocks stay what they are; and what cannot be imported is refused.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mobillm_bundle::fixture::Family;
use mobillm_bundle::network::Network;
use mobillm_bundle::{Bundle, ImportOptions, import};
use mobillm_gguf::fixture::{GgufBuilder, Raw};
use mobillm_gguf::{Gguf, TensorType};
use mobillm_weights::{Encoding, SourceFiles, WeightFormat};
use proptest::prelude::*;
use serde_json::Value;

/// What a tensor of `transformers` is called in GGUF, as llama.cpp's converter has it.
const NAMES: [(&str, &str); 15] = [
    ("model.", ""),
    ("embed_tokens", "token_embd"),
    ("layers.", "blk."),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("lm_head", "output"),
];

fn gguf_name(name: &str) -> String {
    if name.ends_with("model.norm.weight") || name == "norm.weight" {
        return "output_norm.weight".to_owned();
    }
    NAMES.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replacen(theirs, ours, 1))
}

/// Rows of Llama's queries and keys in the order of GGUF: the halves of each head interleaved.
fn interleaved(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (width, head) = (values.len() / rows, rows / heads);
    let mut out = Vec::new();
    for start in (0..rows).step_by(head) {
        for pair in 0..head / 2 {
            for row in [start + pair, start + head / 2 + pair] {
                out.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
        }
    }
    out
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn family(name: &str) -> Family {
    Family::all().into_iter().find(|family| family.name == name).unwrap()
}

/// Metadata of a model whose `config.json` is `config`.
fn metadata(config: &Value) -> GgufBuilder {
    let kind = config["model_type"].as_str().unwrap();
    let number = |key: &str| config[key].as_u64().map(|value| value as u32);
    let theta = [&config["rope_theta"], &config["rope_parameters"]["rope_theta"]];
    let theta = theta.iter().find_map(|value| value.as_f64()).unwrap();
    let tokens: Vec<String> =
        (0..number("vocab_size").unwrap()).map(|id| format!("t{id}")).collect();
    let builder = GgufBuilder::new()
        .metadata("general.architecture", kind)
        .metadata(&format!("{kind}.rope.freq_base"), theta as f32)
        .metadata(
            &format!("{kind}.attention.layer_norm_rms_epsilon"),
            config["rms_norm_eps"].as_f64().unwrap() as f32,
        )
        .metadata("tokenizer.ggml.model", "gpt2")
        .metadata("tokenizer.ggml.pre", "smollm")
        .metadata("tokenizer.ggml.tokens", Raw::array(tokens.iter().map(String::as_str)))
        .metadata("tokenizer.ggml.merges", Raw::array::<&str>([]));
    [
        ("block_count", "num_hidden_layers"),
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("attention.key_length", "head_dim"),
        ("attention.value_length", "head_dim"),
        ("attention.sliding_window", "sliding_window"),
        ("vocab_size", "vocab_size"),
    ]
    .into_iter()
    .filter_map(|(ours, theirs)| Some((ours, number(theirs)?)))
    .fold(builder, |builder, (key, value)| builder.metadata(&format!("{kind}.{key}"), value))
}

/// The model in `folder` as llama.cpp's converter writes it, all in f32.
fn converted(family: &Family, folder: &Path) -> GgufBuilder {
    let config = &family.config;
    let files = SourceFiles::open(folder).unwrap();
    let heads = |key: &str| config[key].as_u64().unwrap() as usize;
    let turns = ["llama", "mistral"].contains(&config["model_type"].as_str().unwrap());
    let mut builder = metadata(config);
    for (name, shape) in &family.tensors {
        let mut values = files.values(name).unwrap();
        for (part, key) in [("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")] {
            if turns && name.contains(part) {
                values = interleaved(&values, shape[0], heads(key));
            }
        }
        builder = builder.tensor(&gguf_name(name), shape, TensorType::F32, &bytes(&values));
    }
    if config["rope_scaling"]["rope_type"] == "llama3" {
        // As the converter computes them from the numbers in families.py.
        let factors = llama3_factors(4, 10_000.0, 24.0);
        let values = bytes(&factors);
        builder = builder.tensor("rope_freqs.weight", &[factors.len()], TensorType::F32, &values);
    }
    builder
}

/// What Llama 3 divides frequencies by, for a factor of 8 between 1 and 4 turns.
fn llama3_factors(pairs: usize, theta: f64, original: f64) -> Vec<f32> {
    let factor = |pair: usize| {
        let wavelength = std::f64::consts::TAU * theta.powf(pair as f64 / pairs as f64);
        if wavelength < original / 4.0 {
            1.0
        } else if wavelength > original {
            8.0
        } else {
            let smooth = (original / wavelength - 1.0) / (4.0 - 1.0);
            1.0 / ((1.0 - smooth) / 8.0 + smooth)
        }
    };
    (0..pairs).map(|pair| factor(pair) as f32).collect()
}

fn try_import(
    file: &GgufBuilder,
    options: &ImportOptions,
) -> Result<(tempfile::TempDir, Bundle), String> {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    fs::write(&model, file.build()).unwrap();
    let out = folder.path().join("bundle");
    match import(&model, &out, options) {
        Ok(bundle) => Ok((folder, bundle)),
        Err(error) => {
            assert!(!out.exists(), "nothing is left of a bundle that could not be made");
            Err(error.to_string())
        }
    }
}

fn imported(file: &GgufBuilder) -> (tempfile::TempDir, Bundle) {
    try_import(file, &ImportOptions::default()).unwrap()
}

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

/// The metadata of a model whose rows are whole blocks of all types.
fn wide() -> GgufBuilder {
    metadata(&serde_json::json!({
        "model_type": "llama", "vocab_size": 40, "num_hidden_layers": 1, "hidden_size": 256,
        "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
    }))
}

/// Bytes of `count` blocks, with half-precision numbers below 2.
fn blocks(kind: TensorType, count: usize, seed: u64) -> Vec<u8> {
    let halves: &[usize] = match kind {
        TensorType::Q4_1 | TensorType::Q4K => &[0, 2],
        TensorType::Q6K => &[208],
        _ => &[0],
    };
    let mut state = seed;
    let mut bytes: Vec<u8> = (0..count * kind.block_bytes())
        .map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 56) as u8
        })
        .collect();
    for block in bytes.chunks_exact_mut(kind.block_bytes()) {
        halves.iter().for_each(|at| block[at + 1] &= 0xbf);
    }
    bytes
}

/// Our names, GGUF's, and rows of the matrices of `wide`.
const MATRICES: [(&str, &str, usize); 8] = [
    ("embedding.tokens.weight", "token_embd.weight", 40),
    ("layers.0.attention.query.weight", "blk.0.attn_q.weight", 256),
    ("layers.0.attention.key.weight", "blk.0.attn_k.weight", 128),
    ("layers.0.attention.value.weight", "blk.0.attn_v.weight", 128),
    ("layers.0.attention.output.weight", "blk.0.attn_output.weight", 256),
    ("layers.0.feed_forward.gate.weight", "blk.0.ffn_gate.weight", 256),
    ("layers.0.feed_forward.up.weight", "blk.0.ffn_up.weight", 256),
    ("layers.0.feed_forward.down.weight", "blk.0.ffn_down.weight", 256),
];

fn quantized(kinds: &[TensorType; 8], seed: u64) -> GgufBuilder {
    let mut builder = wide();
    for ((_, name, rows), (kind, seed)) in MATRICES.iter().zip(kinds.iter().zip(seed..)) {
        let bytes = blocks(*kind, rows * 256 / kind.block_values(), seed);
        builder = builder.tensor(name, &[*rows, 256], *kind, &bytes);
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        builder = builder.tensor(name, &[256], TensorType::F32, &bytes(&[1.0; 256]));
    }
    builder
}

/// The matrices of the bundle by our names: how they are stored, and their values.
fn matrices(bundle: &Bundle) -> BTreeMap<&'static str, (Encoding, Vec<f32>)> {
    let weights = bundle.weights().unwrap();
    let read = |(name, _, rows): &(&'static str, _, usize)| {
        let matrix = weights.matrix(name).unwrap();
        let mut values = vec![0.0; rows * 256];
        matrix.dequantize_rows(0..*rows, &mut values).unwrap();
        (*name, (matrix.encoding(), values))
    };
    MATRICES.iter().map(read).collect()
}

/// The values that llama.cpp reads, by our names and in our order.
fn expected(builder: &GgufBuilder) -> BTreeMap<&'static str, Vec<f32>> {
    let file = builder.build();
    let gguf = Gguf::parse(&file).unwrap();
    let read = |(ours, theirs, rows): &(&'static str, &str, usize)| {
        let mut values = gguf.tensor(theirs).unwrap().read_f32(&file).unwrap();
        for (part, heads) in [("query", 4), ("key", 2)] {
            if ours.contains(part) {
                values = apart(&values, *rows, heads);
            }
        }
        (*ours, values)
    };
    MATRICES.iter().map(read).collect()
}

/// The inverse of [`interleaved`].
fn apart(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let places: Vec<f32> = (0..rows).map(|row| row as f32).collect();
    let mut out = vec![0.0; values.len()];
    let width = values.len() / rows;
    for (from, to) in interleaved(&places, rows, heads).into_iter().enumerate() {
        let to = to as usize;
        out[to * width..(to + 1) * width]
            .copy_from_slice(&values[from * width..(from + 1) * width]);
    }
    out
}

fn has_minima(kind: TensorType) -> bool {
    matches!(kind, TensorType::Q4_1 | TensorType::Q4K)
}

fn is_four_bit(kind: TensorType) -> bool {
    has_minima(kind) || kind == TensorType::Q4_0
}

const QUANTIZED: [TensorType; 5] =
    [TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q4K, TensorType::Q6K];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn blocks_stay_what_they_are(
        kinds in prop::array::uniform8(prop::sample::select(&QUANTIZED[..])),
        seed in any::<u64>(),
    ) {
        let file = quantized(&kinds, seed);
        let (_kept, bundle) = imported(&file);
        let four: usize = kinds[1..].iter().zip(&MATRICES[1..])
            .map(|(kind, (.., rows))| if is_four_bit(*kind) { *rows } else { 0 }).sum();
        let all: usize = MATRICES[1..].iter().map(|(.., rows)| rows).sum();
        let is_four = 2 * four >= all;
        let format = if is_four { WeightFormat::Q4 } else { WeightFormat::Q8 };
        prop_assert_eq!(bundle.weight_format(), format);

        let (got, expected) = (matrices(&bundle), expected(&file));
        for ((ours, ..), kind) in MATRICES.iter().zip(kinds) {
            // Of 4 bit blocks in a model that is mostly 8 bit the writer makes 8 bit ones.
            if !is_four && is_four_bit(kind) && !ours.starts_with("embedding") {
                continue;
            }
            let (encoding, values) = &got[ours];
            prop_assert!(matches!(encoding, Encoding::Blocks { .. }), "{} {}", ours, kind);
            let largest = expected[ours].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let tolerance = if has_minima(kind) { 1e-6 * largest } else { 0.0 };
            for (got, expected) in values.iter().zip(&expected[ours]) {
                prop_assert!((got - expected).abs() <= tolerance, "{} {}: {} {}", ours, kind, got, expected);
            }
        }
    }
}

#[test]
fn another_format_can_be_asked_for() {
    let file = quantized(&[TensorType::Q4_0; 8], 5);
    let expected = expected(&file);
    for format in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Q8, WeightFormat::Int8] {
        let options = ImportOptions { weights: Some(format), ..ImportOptions::default() };
        let (_kept, bundle) = try_import(&file, &options).unwrap();
        assert_eq!(bundle.weight_format(), format);
        for (name, (_, values)) in matrices(&bundle) {
            let largest =
                expected[name].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let off = values.iter().zip(&expected[name]);
            let off = off.fold(0.0_f32, |off, (got, expected)| off.max((got - expected).abs()));
            let tolerance = if format == WeightFormat::F32 { 0.0 } else { largest / 127.0 };
            assert!(off <= tolerance, "{format} {name}: off by {off}");
        }
    }
}

#[test]
fn the_format_is_that_of_the_layers() {
    for (kind, format) in [
        (TensorType::F16, WeightFormat::F16),
        (TensorType::Bf16, WeightFormat::F32),
        (TensorType::Q6K, WeightFormat::Q8),
        (TensorType::Q4K, WeightFormat::Q4),
    ] {
        let mut kinds = [kind; 8];
        kinds[0] = TensorType::Q8_0;
        let (_kept, bundle) = imported(&quantized(&kinds, 3));
        assert_eq!(bundle.weight_format(), format, "{kind}");
    }
}

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
