//! Writes sound files for the fuzzers to start from, into `found/` beside this file.

use std::error::Error;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use mobillm_bundle::fixture::{Family, TinyBert};
use mobillm_core::sample::SampleId;
use mobillm_gguf::TensorType;
use mobillm_gguf::fixture::{GgufBuilder, Raw, every_type};
use mobillm_onnx::messages::{
    AttributeProto, Axis, FLOAT, GraphProto, INT32, INT64, ModelProto, NodeProto, TensorProto,
    ValueInfoProto,
};
use mobillm_weights::fixture::{FILE, every_format};
use mobillm_wire::frame::{Ack, Adapter, Frame, Open, Step, Stored, Supervise};
use prost::Message;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    for (target, write) in TARGETS {
        let folder = found.join(target);
        fs::create_dir_all(&folder)?;
        write(&folder)?;
    }
    Ok(())
}

/// Every target and what writes its seeds into a folder.
const TARGETS: [(&str, fn(&Path) -> Done); 7] = [
    ("config", configs),
    ("frame", frames),
    ("gguf", gguf),
    ("model", models),
    ("onnx", graphs),
    ("safetensors", weights),
    ("tokenizer", tokenizers),
];

fn configs(folder: &Path) -> Done {
    for family in Family::all() {
        fs::write(folder.join(&family.name), family.config.to_string())?;
    }
    Ok(())
}

fn frames(folder: &Path) -> Done {
    let samples = vec![(SampleId(7), vec![0, 1, 2]), (SampleId(8), vec![3, 5])];
    let frames = [
        Frame::Open(Open { micro_batch: 1, samples }),
        Frame::Supervise(Supervise::new(1, &[])),
        Frame::Step(Step { step: 2, samples: vec![0, 1] }),
        Frame::Ack(Ack { step: 2, samples: 2, loss: 0.5, learning_rate: 1e-3, seconds: 0.1 }),
        Frame::Adapter(Adapter { epoch: 0, bytes: Bytes::from_static(b"adapter") }),
        Frame::Finish,
        Frame::Failure("no".to_owned()),
        Frame::Stored(Stored { steps: 3 }),
    ];
    for frame in frames {
        fs::write(folder.join(frame.name()), frame.encode())?;
    }
    Ok(())
}

fn gguf(folder: &Path) -> Done {
    fs::write(folder.join("empty"), GgufBuilder::new().build())?;
    fs::write(folder.join("every-type"), every_type().build())?;
    fs::write(folder.join("old"), every_type().version(2).build())?;
    Ok(())
}

fn models(folder: &Path) -> Done {
    let bytes = ["<unk>", "<s>", "</s>", "a", "b", "ab", "\u{120}", "\u{120}a"];
    let byte_pairs = model("qwen3", TensorType::F32, &bytes)
        .metadata("tokenizer.ggml.model", "gpt2")
        .metadata("tokenizer.ggml.pre", "qwen2")
        .metadata("tokenizer.ggml.merges", Raw::array(["a b", "\u{120} a"]));
    let pieces = ["<unk>", "<s>", "</s>", "<0x41>", "\u{2581}", "a", "b", "\u{2581}a"];
    let sentence_piece = model("llama", TensorType::Q4_0, &pieces)
        .metadata("llama.rope.scaling.type", "linear")
        .metadata("llama.rope.scaling.factor", 2_f32)
        .metadata("tokenizer.ggml.model", "llama")
        .metadata("tokenizer.ggml.scores", Raw::array([0_f32, 0., 0., 0., -1., -2., -3., -4.]))
        .metadata("tokenizer.ggml.token_type", Raw::array([2, 3, 3, 6, 1, 1, 1, 1]))
        .metadata("tokenizer.ggml.bos_token_id", 1_u32)
        .metadata("tokenizer.ggml.eos_token_id", 2_u32);
    fs::write(folder.join("byte-pairs"), byte_pairs.build())?;
    fs::write(folder.join("sentence-piece"), sentence_piece.build())?;
    Ok(())
}

/// A model of one layer without a tokenizer's parts but its `tokens`, whose matrices are of `kind`.
fn model(family: &str, kind: TensorType, tokens: &[&str]) -> GgufBuilder {
    // As small as blocks and heads of two pairs allow.
    let hidden = kind.block_values().max(8);
    let key = |name: &str| format!("{family}.{name}");
    let builder = GgufBuilder::new()
        .metadata("general.architecture", family)
        .metadata("tokenizer.ggml.tokens", Raw::array(tokens.iter().copied()))
        .metadata(&key("block_count"), 1_u32)
        .metadata(&key("context_length"), 64_u32)
        .metadata(&key("embedding_length"), hidden as u32)
        .metadata(&key("feed_forward_length"), hidden as u32)
        .metadata(&key("attention.head_count"), 2_u32)
        .metadata(&key("attention.layer_norm_rms_epsilon"), 1e-5_f32);
    let tensor = |builder: GgufBuilder, name: &str, shape: &[usize], kind: TensorType| {
        let blocks = shape.iter().product::<usize>() / kind.block_values();
        builder.tensor(name, shape, kind, &vec![0; blocks * kind.block_bytes()])
    };
    let builder = tensor(builder, "token_embd.weight", &[tokens.len(), hidden], kind);
    let maps = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let builder = maps.iter().fold(builder, |builder, map| {
        tensor(builder, &format!("blk.0.{map}.weight"), &[hidden, hidden], kind)
    });
    let heads: &[&str] = match family {
        "qwen3" => &["blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight"],
        _ => &[],
    };
    let builder = heads
        .iter()
        .fold(builder, |builder, norm| tensor(builder, norm, &[hidden / 2], TensorType::F32));
    ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"]
        .iter()
        .fold(builder, |builder, norm| tensor(builder, norm, &[hidden], TensorType::F32))
}

/// Graphs of foreign exporters, and a small one.
fn graphs(folder: &Path) -> Done {
    let exported = Path::new(env!("CARGO_MANIFEST_DIR")).join("../framework/bundle/golden/foreign");
    for file in fs::read_dir(exported)? {
        let file = file?;
        fs::copy(file.path(), folder.join(file.file_name()))?;
    }
    fs::write(folder.join("one-layer"), one_layer().encode_to_vec())?;
    Ok(())
}

/// A decoder of one layer that can go on from earlier tokens, with what graphs are made of: weights as
/// bytes and as numbers, constants, a branch, casts.
fn one_layer() -> ModelProto {
    let weight = |name: &str, dims: &[i64]| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        ..TensorProto::default()
    };
    let [batch, tokens] = [Axis::Named("batch"), Axis::Named("tokens")];
    let cache = [batch, Axis::Fixed(1), Axis::Named("past"), Axis::Fixed(2)];
    let one = TensorProto { int64_data: vec![1], ..TensorProto::int64("", &[], &[]) };
    let branch = GraphProto {
        name: "branch".to_owned(),
        node: vec![NodeProto::new("Identity", &["middle"], &["same"])],
        ..GraphProto::default()
    };
    let with = |node: NodeProto, attribute| NodeProto { attribute: vec![attribute], ..node };
    let graph = GraphProto {
        initializer: vec![
            TensorProto { raw_data: vec![0; 16].into(), ..weight("table", &[2, 2]) },
            TensorProto { float_data: vec![1.0; 2], ..weight("gain", &[2]) },
            TensorProto::int64("shape", &[2], &[0, 0]),
        ],
        input: vec![
            ValueInfoProto::tensor("input_ids", INT32, &[batch, tokens]),
            ValueInfoProto::tensor("attention_mask", INT64, &[batch, tokens]),
            ValueInfoProto::tensor("position_ids", INT64, &[batch, tokens]),
            ValueInfoProto::tensor("past.key", FLOAT, &cache),
        ],
        output: vec![ValueInfoProto::tensor("last", FLOAT, &[batch, tokens, Axis::Fixed(2)])],
        node: vec![
            with(NodeProto::new("Constant", &[], &["one"]), AttributeProto::tensor("value", one)),
            NodeProto::new("Gather", &["table", "input_ids"], &["embedding"]),
            NodeProto::new("LayerNormalization", &["embedding", "gain"], &["a"]),
            NodeProto::new("MatMul", &["a", "a"], &["scores"]),
            NodeProto::new(
                "MultiHeadAttention",
                &["scores", "attention_mask", "position_ids", "past.key"],
                &["b"],
            ),
            NodeProto::new("Add", &["embedding", "b"], &["middle"]),
            NodeProto {
                attribute: vec![AttributeProto {
                    g: Some(Box::new(branch)),
                    ..AttributeProto::int("then_branch", 0)
                }],
                ..NodeProto::new("If", &["one"], &["chosen"])
            },
            NodeProto::new("SimplifiedLayerNormalization", &["middle", "gain"], &["c"]),
            with(NodeProto::new("Cast", &["c"], &["d"]), AttributeProto::int("to", FLOAT.into())),
            NodeProto::new("MatMul", &["d", "table"], &["e"]),
            NodeProto::new("Add", &["middle", "e"], &["last"]),
        ],
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }
}

fn weights(folder: &Path) -> Done {
    let _ = fs::remove_file(folder.join(FILE));
    Ok(every_format(folder)?)
}

/// One of each model that tokenizers have.
fn tokenizers(folder: &Path) -> Done {
    const TOKENIZER: &str = "tokenizer.json";
    let models = tempfile::tempdir()?;
    TinyBert::default().write(&models.path().join("bert"))?;
    fs::copy(models.path().join("bert").join(TOKENIZER), folder.join("words"))?;
    for (name, model) in MODELS {
        fs::write(folder.join(name), format!("{{{PARTS},\"model\":{model}}}"))?;
    }
    Ok(())
}

/// What stands around a tokenizer's model.
const PARTS: &str = r#""version":"1.0","truncation":null,"padding":null,
"added_tokens":[{"id":0,"content":"<unk>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Prepend","prepend":"\u2581"},{"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},
"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\p{L}+|\\s"},"behavior":"Isolated","invert":false},
"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{}},
"decoder":{"type":"ByteFallback"}"#;

const MODELS: [(&str, &str); 3] = [
    (
        "byte-pairs",
        r#"{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":{"<unk>":0,"a":1,"b":2,"ab":3,"<0x41>":4},"merges":["a b"]}"#,
    ),
    (
        "unigram",
        r#"{"type":"Unigram","unk_id":0,"byte_fallback":false,"vocab":[["<unk>",0.0],["a",-1.0],["\u2581a",-2.5]]}"#,
    ),
    (
        "word-pieces",
        r###"{"type":"WordPiece","unk_token":"<unk>","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"<unk>":0,"a":1,"##b":2}}"###,
    ),
];
