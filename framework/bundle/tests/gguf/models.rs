//! Models as GGUF files: those of Hugging Face as llama.cpp's converter writes them, and quantized ones.

use std::fs;
use std::path::Path;

use mobillm_bundle::fixture::Family;
use mobillm_bundle::{Bundle, ImportOptions, import};
use mobillm_gguf::TensorType;
use mobillm_gguf::fixture::{GgufBuilder, Raw};
use mobillm_weights::SourceFiles;
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
pub(crate) fn interleaved(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
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

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn family(name: &str) -> Family {
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
pub(crate) fn converted(family: &Family, folder: &Path) -> GgufBuilder {
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

pub(crate) type Imported = Result<(tempfile::TempDir, Bundle), String>;

/// The bundle of the GGUF file with these bytes, or why there is none.
pub(crate) fn written(bytes: &[u8], options: &ImportOptions) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    fs::write(&model, bytes).unwrap();
    let out = folder.path().join("bundle");
    match import(&model, &out, options) {
        Ok(bundle) => Ok((folder, bundle)),
        Err(error) => {
            assert!(!out.exists(), "nothing is left of a bundle that could not be made");
            Err(error.to_string())
        }
    }
}

pub(crate) fn try_import(file: &GgufBuilder, options: &ImportOptions) -> Imported {
    written(&file.build(), options)
}

pub(crate) fn imported(file: &GgufBuilder) -> (tempfile::TempDir, Bundle) {
    try_import(file, &ImportOptions::default()).unwrap()
}

/// The metadata of a model whose rows are whole blocks of all types.
pub(crate) fn wide() -> GgufBuilder {
    metadata(&serde_json::json!({
        "model_type": "llama", "vocab_size": 40, "num_hidden_layers": 1, "hidden_size": 256,
        "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
    }))
}

/// Bytes of `count` blocks, or floats, with numbers below 2.
pub(crate) fn blocks(kind: TensorType, count: usize, seed: u64) -> Vec<u8> {
    let halves: &[usize] = match kind {
        TensorType::Q4_1 | TensorType::Q4K => &[0, 2],
        TensorType::Q6K => &[208],
        TensorType::F32 => &[2],
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
pub(crate) const MATRICES: [(&str, &str, usize); 8] = [
    ("embedding.tokens.weight", "token_embd.weight", 40),
    ("layers.0.attention.query.weight", "blk.0.attn_q.weight", 256),
    ("layers.0.attention.key.weight", "blk.0.attn_k.weight", 128),
    ("layers.0.attention.value.weight", "blk.0.attn_v.weight", 128),
    ("layers.0.attention.output.weight", "blk.0.attn_output.weight", 256),
    ("layers.0.feed_forward.gate.weight", "blk.0.ffn_gate.weight", 256),
    ("layers.0.feed_forward.up.weight", "blk.0.ffn_up.weight", 256),
    ("layers.0.feed_forward.down.weight", "blk.0.ffn_down.weight", 256),
];

pub(crate) fn quantized(kinds: &[TensorType; 8], seed: u64) -> GgufBuilder {
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
