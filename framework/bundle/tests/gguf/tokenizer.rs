//! Tokenizers that are made from GGUF files, against `transformers` and SentencePiece.
//!
//! `golden/byte_level.py` and `golden/spm.py` make the figures and say what they are.

use mobillm_bundle::{BundleTokenizer, ImportOptions};
use mobillm_gguf::TensorType;
use mobillm_gguf::fixture::{GgufBuilder, Raw};
use serde::Deserialize;

use crate::models::try_import;

#[derive(Deserialize)]
struct ByteLevel {
    tokens: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
    texts: Vec<String>,
    splits: Vec<SplitIds>,
}

#[derive(Deserialize)]
struct SplitIds {
    name: String,
    ids: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct SentencePiece {
    pieces: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

fn byte_level() -> ByteLevel {
    serde_json::from_str(include_str!("../../golden/byte_level.json")).unwrap()
}

fn sentence_piece() -> SentencePiece {
    serde_json::from_str(include_str!("../../golden/spm.json")).unwrap()
}

fn texts(texts: &[String]) -> Raw {
    Raw::array(texts.iter().map(String::as_str))
}

impl ByteLevel {
    /// A file with this vocabulary whose texts are split as `name` says.
    fn file(&self, name: &str) -> GgufBuilder {
        model(self.tokens.len())
            .metadata("tokenizer.ggml.model", "gpt2")
            .metadata("tokenizer.ggml.pre", name)
            .metadata("tokenizer.ggml.tokens", texts(&self.tokens))
            .metadata("tokenizer.ggml.token_type", Raw::array(self.types.iter().copied()))
            .metadata("tokenizer.ggml.merges", texts(&self.merges))
            .metadata("tokenizer.ggml.add_bos_token", false)
    }

    fn id(&self, token: &str) -> u32 {
        self.tokens.iter().position(|known| known == token).unwrap() as u32
    }
}

impl SentencePiece {
    fn file(&self) -> GgufBuilder {
        model(self.pieces.len())
            .metadata("tokenizer.ggml.model", "llama")
            .metadata("tokenizer.ggml.tokens", texts(&self.pieces))
            .metadata("tokenizer.ggml.scores", Raw::array(self.scores.iter().copied()))
            .metadata("tokenizer.ggml.token_type", Raw::array(self.types.iter().copied()))
            .metadata("tokenizer.ggml.bos_token_id", 1_u32)
            .metadata("tokenizer.ggml.eos_token_id", 2_u32)
    }

    fn id(&self, piece: &str) -> u32 {
        self.pieces.iter().position(|known| known == piece).unwrap() as u32
    }
}

/// The smallest model that embeds so many tokens.
fn model(vocabulary: usize) -> GgufBuilder {
    let zeros = |builder: GgufBuilder, name: &str, shape: &[usize]| {
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        builder.tensor(name, shape, TensorType::F32, &bytes)
    };
    let builder = GgufBuilder::new()
        .metadata("general.architecture", "llama")
        .metadata("llama.block_count", 1_u32)
        .metadata("llama.context_length", 512_u32)
        .metadata("llama.embedding_length", 2_u32)
        .metadata("llama.feed_forward_length", 2_u32)
        .metadata("llama.attention.head_count", 1_u32)
        .metadata("llama.attention.layer_norm_rms_epsilon", 1e-5_f32);
    let builder = zeros(builder, "token_embd.weight", &[vocabulary, 2]);
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let builder = matrices
        .iter()
        .fold(builder, |builder, name| zeros(builder, &format!("blk.0.{name}.weight"), &[2, 2]));
    ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"]
        .iter()
        .fold(builder, |builder, name| zeros(builder, name, &[2]))
}

fn try_tokenizer(file: &GgufBuilder) -> Result<BundleTokenizer, String> {
    let (_kept, bundle) = try_import(file, &ImportOptions::default())?;
    Ok(bundle.tokenizer(None).unwrap())
}

fn tokenizer(file: &GgufBuilder) -> BundleTokenizer {
    try_tokenizer(file).unwrap()
}

fn ids(tokenizer: &BundleTokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, None).unwrap().tokens.ids
}

#[test]
fn byte_pairs_are_those_of_transformers() {
    let golden = byte_level();
    for split in &golden.splits {
        let tokenizer = tokenizer(&golden.file(&split.name));
        for (text, expected) in golden.texts.iter().zip(&split.ids) {
            assert_eq!(&ids(&tokenizer, text), expected, "{}: {text:?}", split.name);
        }
    }
}

#[test]
fn pieces_are_those_of_sentence_piece() {
    let golden = sentence_piece();
    let tokenizer = tokenizer(&golden.file());
    for Text { text, ids: expected } in &golden.texts {
        assert_eq!(&ids(&tokenizer, text), expected, "{text:?}");
    }
}

#[test]
fn a_space_comes_before_each_text_between_tokens_of_their_own_unless_the_file_says_none() {
    let golden = sentence_piece();
    let (user, the) = (golden.id("<user>"), golden.id("▁the"));
    assert_eq!(ids(&tokenizer(&golden.file()), "<user>the</s>the"), [1, user, the, 2, the]);
    let file = golden.file().metadata("tokenizer.ggml.add_space_prefix", false);
    assert_eq!(ids(&tokenizer(&file), " the<user> the"), [1, the, user, the]);
}

#[test]
fn a_word_is_the_token_that_it_adds_to_a_text() {
    let golden = sentence_piece();
    let pieces = tokenizer(&golden.file());
    // By itself this is the space that comes before each text, and the word.
    assert_eq!(ids(&pieces, " the").len(), 3);
    assert_eq!(pieces.word(" the").unwrap(), golden.id("▁the"));
    assert_eq!(pieces.word(" label").unwrap(), golden.id("▁label"));
    assert_eq!(pieces.word("side").unwrap(), golden.id("side"));
    // A piece with a space before it is another word.
    assert!(golden.pieces.iter().all(|piece| piece != "label"));
    assert!(pieces.word("label").unwrap_err().contains("tokens of this model ("));
    let error = pieces.word(" the label").unwrap_err();
    assert!(error.contains("is 2 tokens of this model (\"the\", \"label\")"), "{error}");

    let golden = byte_level();
    for split in &golden.splits {
        let tokenizer = tokenizer(&golden.file(&split.name));
        assert_eq!(tokenizer.word(" the").unwrap(), golden.id("Ġthe"), "{}", split.name);
        assert_eq!(tokenizer.word("7").unwrap(), golden.id("7"), "{}", split.name);
        assert_eq!(tokenizer.word("!").unwrap(), golden.id("!"), "{}", split.name);
    }
}

#[test]
fn tokens_at_the_ends_are_what_the_file_says() {
    let golden = byte_level();
    let (begin, end) = (golden.id("<|begin|>"), golden.id("<|end|>"));
    let file = golden
        .file("qwen2")
        .metadata("tokenizer.ggml.bos_token_id", begin)
        .metadata("tokenizer.ggml.eos_token_id", end);
    let plain = ids(&tokenizer(&file), "the");
    let with = |begins: bool, ends: bool| {
        let file = file.clone().metadata("tokenizer.ggml.add_bos_token", begins);
        ids(&tokenizer(&file.metadata("tokenizer.ggml.add_eos_token", ends)), "the")
    };
    assert_eq!(with(true, false), [&[begin], &plain[..]].concat());
    assert_eq!(with(false, true), [&plain[..], &[end]].concat());
    assert_eq!(with(true, true), [&[begin], &plain[..], &[end]].concat());
    let pair = tokenizer(&file.metadata("tokenizer.ggml.add_bos_token", true));
    let pair = pair.encode("the", Some("the")).unwrap().tokens.ids;
    assert_eq!(pair, [&[begin], &plain[..], &[begin], &plain[..]].concat());

    // Llama 3 begins texts unless the file denies it.
    let llama3 = golden.file("llama-bpe").metadata("tokenizer.ggml.bos_token_id", begin);
    assert_eq!(
        ids(&tokenizer(&llama3.clone().without("tokenizer.ggml.add_bos_token")), "")[..],
        [begin]
    );
    assert!(ids(&tokenizer(&llama3), "").is_empty());
}

#[track_caller]
fn refused(file: &GgufBuilder, words: &[&str]) {
    let error = try_tokenizer(file).unwrap_err();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn tokenizers_that_cannot_be_made_are_refused() {
    let golden = byte_level();
    let file = || golden.file("smollm");
    refused(
        &file().metadata("tokenizer.ggml.model", "bert"),
        &["is \"bert\"", "\"gpt2\" and \"llama\"", "tokenizer.json"],
    );
    refused(&file().without("tokenizer.ggml.model"), &["tokenizer.ggml.model", "is missing"]);
    refused(
        &file().metadata("tokenizer.ggml.pre", "viking"),
        &["is \"viking\"", "\"llama-bpe\"", "tokenizer.json"],
    );
    // What llama.cpp does without a name is a way of its own.
    refused(
        &file().metadata("tokenizer.ggml.pre", "default"),
        &["tokenizer.ggml.pre", "is \"default\"", "tokenizer.json"],
    );
    refused(
        &file().without("tokenizer.ggml.pre"),
        &["tokenizer.ggml.pre", "is missing", "tokenizer.json"],
    );
    refused(&file().without("tokenizer.ggml.merges"), &["tokenizer.ggml.merges", "is missing"]);
    refused(
        &file().metadata("tokenizer.ggml.merges", Raw::array(["a b", "ab"])),
        &["merges[1]", "two tokens"],
    );
    refused(
        &file().metadata("tokenizer.ggml.merges", Raw::array(["a \u{3b1}"])),
        &["model.gguf", "out of vocabulary"],
    );
    refused(
        &file().metadata("tokenizer.ggml.tokens", Raw::array([1_u8])),
        &["tokenizer.ggml.tokens", "other elements than texts"],
    );
    refused(
        &file().metadata("tokenizer.ggml.token_type", Raw::array([1_i32])),
        &["token_type", "has 1 elements"],
    );
    let mut types = golden.types.clone();
    types[7] = 9;
    refused(
        &file().metadata("tokenizer.ggml.token_type", Raw::array(types)),
        &["token_type[7]", "is 9, expected 1 to 6"],
    );
    let mut twice = golden.tokens.clone();
    twice[300] = twice[299].clone();
    refused(
        &file().metadata("tokenizer.ggml.tokens", texts(&twice)),
        &["tokens[300]", "token 299 is already"],
    );
    let begins = file().metadata("tokenizer.ggml.add_bos_token", true);
    refused(&begins, &["tokenizer.ggml.bos_token_id", "is missing"]);
    refused(
        &begins.metadata("tokenizer.ggml.bos_token_id", 1_u32 << 30),
        &["bos_token_id", "tokens"],
    );

    let golden = sentence_piece();
    refused(
        &golden.file().without("tokenizer.ggml.scores"),
        &["tokenizer.ggml.scores", "is missing"],
    );
    refused(
        &golden.file().metadata("tokenizer.ggml.scores", Raw::array([0.5_f32])),
        &["scores", "has 1 elements"],
    );
    let mut long = golden.pieces.clone();
    long[400] = "x".repeat(5000);
    refused(
        &golden.file().metadata("tokenizer.ggml.tokens", texts(&long)),
        &["tokens[400]", "has 5000 bytes"],
    );
}

#[test]
fn a_vocabulary_of_another_model_is_refused() {
    let golden = byte_level();
    for change in [-1, 1] {
        let mut tokens = golden.tokens.clone();
        match change {
            1 => tokens.push("one more".to_owned()),
            _ => drop(tokens.pop()),
        }
        let file = golden.file("smollm").metadata("tokenizer.ggml.tokens", texts(&tokens));
        let expected =
            format!("has {} tokens, but the model embeds {}", tokens.len(), golden.tokens.len());
        refused(&file, &["tokenizer.ggml.tokens", &expected]);
    }
}
