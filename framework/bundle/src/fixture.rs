//! A tiny BERT with random weights, for tests of whatever reads bundles.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::bundle::Bundle;
use crate::import::{ImportError, import};

/// Dimensions of a [`TinyBert`].
#[derive(Debug, Clone)]
pub struct TinyBert {
    /// Transformer layers.
    pub layers: usize,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Tokens that a sample may have.
    pub max_tokens: usize,
    /// Its activation, as `hidden_act`.
    pub activation: String,
    /// What stands before the name of every tensor of the encoder.
    pub prefix: String,
    /// Outputs of its task head; `None` for the encoder alone.
    pub head: Option<usize>,
    /// Initial state of the weights' random numbers.
    pub seed: u64,
}

impl Default for TinyBert {
    fn default() -> Self {
        Self {
            layers: 3,
            hidden: 16,
            heads: 2,
            intermediate: 32,
            max_tokens: 32,
            activation: "gelu".to_owned(),
            prefix: String::new(),
            head: None,
            seed: 1,
        }
    }
}

/// Words that the tokenizer knows, after its five special tokens.
const WORDS: [&str; 12] =
    ["a", "b", "the", "tap", "layer", "gets", "out", "early", "good", "bad", "free", "call"];
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

impl TinyBert {
    /// Token ids of the model are below this.
    pub const VOCABULARY: usize = SPECIAL.len() + WORDS.len();

    /// A `BertForSequenceClassification` whose classes are called "class 0" and so on. Its encoder is
    /// that of the model without a head.
    pub fn with_head(outputs: usize) -> Self {
        Self { prefix: "bert.".to_owned(), head: Some(outputs), ..Self::default() }
    }

    /// Writes `config.json`, `model.safetensors` and `tokenizer.json` into `folder`, as
    /// `transformers` does.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("config.json"), self.config().to_string())?;
        fs::write(folder.join("tokenizer.json"), tokenizer().to_string())?;
        let tensors = self.tensors();
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name, view)).map_err(io::Error::other)
        });
        let views = views.collect::<io::Result<Vec<_>>>()?;
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
            .map_err(io::Error::other)
    }

    /// The bundle of this model, in the new folder `out`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn bundle(&self, out: &Path) -> Result<Bundle, ImportError> {
        let failed = |source| ImportError::Write { path: out.to_owned(), source };
        let source = tempfile::tempdir().map_err(failed)?;
        self.write(source.path()).map_err(failed)?;
        import(source.path(), out)
    }

    /// The content of `config.json`.
    pub fn config(&self) -> serde_json::Value {
        let mut config = json!({
            "model_type": "bert",
            "vocab_size": Self::VOCABULARY,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.max_tokens,
            "type_vocab_size": 2,
            "hidden_act": self.activation,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        });
        if let Some(outputs) = self.head {
            let label = |id: usize| (id.to_string(), json!(format!("class {id}")));
            config["architectures"] = json!(["BertForSequenceClassification"]);
            config["id2label"] = (0..outputs).map(label).collect();
        }
        config
    }

    /// Name, shape and little-endian f32 bytes of every tensor.
    pub fn tensors(&self) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
        let mut state = self.seed;
        self.shapes()
            .into_iter()
            .map(|(name, shape)| {
                let center = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
                let numbers = (0..shape.iter().product())
                    .flat_map(|_| (center + 0.2 * uniform(&mut state)).to_le_bytes());
                let bytes = numbers.collect();
                let prefix = if name.starts_with("classifier") { "" } else { &self.prefix };
                (format!("{prefix}{name}"), (shape, bytes))
            })
            .collect()
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden, self.intermediate);
        let mut shapes = vec![
            ("embeddings.word_embeddings.weight".to_owned(), vec![Self::VOCABULARY, hidden]),
            ("embeddings.position_embeddings.weight".to_owned(), vec![self.max_tokens, hidden]),
            ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, hidden]),
        ];
        let mut linear = |name: String, rows: usize, columns: Option<usize>| {
            let shape = std::iter::once(rows).chain(columns).collect();
            shapes.push((format!("{name}.weight"), shape));
            shapes.push((format!("{name}.bias"), vec![rows]));
        };
        linear("embeddings.LayerNorm".to_owned(), hidden, None);
        for layer in 0..self.layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                linear(name(&format!("attention.{part}")), hidden, Some(hidden));
            }
            linear(name("attention.output.LayerNorm"), hidden, None);
            linear(name("intermediate.dense"), inner, Some(hidden));
            linear(name("output.dense"), hidden, Some(inner));
            linear(name("output.LayerNorm"), hidden, None);
        }
        if let Some(outputs) = self.head {
            linear("pooler.dense".to_owned(), hidden, Some(hidden));
            linear("classifier".to_owned(), outputs, Some(hidden));
        }
        shapes
    }
}

/// A number in -1..1 (splitmix64).
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// A word-level tokenizer with BERT's special tokens.
fn tokenizer() -> serde_json::Value {
    let vocabulary: serde_json::Map<String, serde_json::Value> = SPECIAL
        .iter()
        .chain(&WORDS)
        .zip(0..)
        .map(|(&word, id)| (word.to_owned(), json!(id)))
        .collect();
    let special = SPECIAL.iter().zip(0..).map(|(token, id): (_, u32)| {
        json!({"id": id, "content": token, "special": true, "single_word": false,
               "lstrip": false, "rstrip": false, "normalized": false})
    });
    let token = |id: &str, segment: u32| json!({"SpecialToken": {"id": id, "type_id": segment}});
    let text = |id: &str, segment: u32| json!({"Sequence": {"id": id, "type_id": segment}});
    let ids = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)],
            "special_tokens": {"[CLS]": ids("[CLS]", 2), "[SEP]": ids("[SEP]", 3)},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
}
