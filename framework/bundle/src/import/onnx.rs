//! ONNX graphs that somebody else exported, from any exporter: taps are added, and the weights move to
//! safetensors. What the graph computes stays as it is.
//!
//! Beside the graph, or in the folder above it, lie the model's `tokenizer.json` and `config.json`, as
//! exporters leave them. The config says how many tokens a text may have, what batches are padded with
//! and what the outputs of a classifier are called; the rest is read from the graph.

use std::path::{Path, PathBuf};

use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_onnx::messages::GraphProto;
use mobillm_onnx::{Dimensions, Input, ModelFiles, Own, Role, TapPoint};
use mobillm_weights::WeightFormat;
use prost::Message;
use serde::Deserialize;

use super::config::Config;
use super::head::Labels;
use super::hugging_face::tokenizer;
use super::sentence;
use super::{ImportError, ImportOptions};
use crate::bundle::Bundle;
use crate::manifest::{Contents, GRAPH, OWN_PREDICTION, TOKENIZER};
use crate::writer::{write_file, write_whole};

mod weights;

/// Before this version of the format, weights were inputs too.
const OLDEST_IR: i64 = 4;

/// Keys of the config, by what families call them.
#[derive(Deserialize)]
struct OnnxConfig {
    model_type: Option<String>,
    #[serde(alias = "n_positions", alias = "n_ctx", alias = "max_seq_len")]
    max_position_embeddings: Option<usize>,
    #[serde(alias = "n_embd", alias = "dim", alias = "d_model")]
    hidden_size: Option<usize>,
    vocab_size: Option<usize>,
    pad_token_id: Option<i64>,
}

/// Families that count positions from one behind that of the padding token.
const OFFSET_POSITIONS: &[&str] =
    &["camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta", "xmod"];

/// Families of decoders, for classes whose name does not say it.
const DECODERS: &[&str] = &[
    "bloom",
    "codegen",
    "falcon",
    "gemma",
    "gemma2",
    "gpt2",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "llama",
    "mistral",
    "olmo",
    "olmo2",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "stablelm",
    "starcoder2",
];

/// Imports the graph at `path` into the bundle `out`.
///
/// # Errors
/// If the graph cannot be read or has no residual stream, if its inputs are not those of a text model, if
/// there is no tokenizer or config, or they do not fit, or if `out` exists or cannot be written.
pub(super) fn import(
    path: &Path,
    out: &Path,
    options: &ImportOptions,
) -> Result<Bundle, ImportError> {
    let wrong = |problem: String| ImportError::Graph { path: path.to_owned(), problem };
    if let Some(format) = options.weights {
        return Err(wrong(format!(
            "the matrices of an exported graph stay as they are and cannot become {format}; leave the \
             format out, or import the model that the graph was exported from"
        )));
    }
    let (mut files, mut model) = ModelFiles::open(path)?;
    let graph = model.graph.as_mut().ok_or_else(|| wrong("has no graph".to_owned()))?;
    mobillm_onnx::hoist_constants(graph);
    let taps =
        mobillm_onnx::taps(graph, &options.taps).map_err(|error| wrong(error.to_string()))?;
    let inputs = mobillm_onnx::inputs(graph).map_err(|error| wrong(error.to_string()))?;
    let foreign = Foreign::read(path, graph, &taps, &inputs)?;
    let tokenizer = tokenizer(&beside(path, TOKENIZER))?;
    let padding =
        tokenizer.check(&foreign.info, foreign.segments, foreign.causal, foreign.padding)?;
    let own = foreign.own.as_ref().zip(foreign.info.own_outputs);
    let own = own.map(|(from, outputs)| Own { from, to: OWN_PREDICTION, outputs });
    mobillm_onnx::rewrite(graph, &taps, &inputs, foreign.info.hidden, own);
    model.ir_version = model.ir_version.max(OLDEST_IR);
    write_whole(out, |folder| {
        weights::write(&mut model, &mut files, folder)?;
        write_file(&folder.join(GRAPH), &model.encode_to_vec())?;
        write_file(&folder.join(TOKENIZER), &tokenizer.json)?;
        let Foreign { info, own_labels, .. } = foreign;
        Ok(Contents { info, network: None, weights: WeightFormat::F32, own_labels, padding })
    })
}

/// The file `name` of the model whose graph is at `path`: exporters put several graphs of one model
/// into a folder of their own.
fn beside(path: &Path, name: &str) -> PathBuf {
    let near = path.with_file_name(name);
    let above = path.parent().and_then(Path::parent).map(|folder| folder.join(name));
    above.filter(|above| !near.exists() && above.exists()).unwrap_or(near)
}

/// What is known of a foreign model.
struct Foreign {
    info: BackboneInfo,
    /// Segments that it tells apart; 0 for none.
    segments: usize,
    /// Whether a token sees only those before it.
    causal: bool,
    padding: Option<u32>,
    /// The output of the graph that answers for a whole text.
    own: Option<String>,
    own_labels: Option<Vec<String>>,
}

impl Foreign {
    fn read(
        path: &Path,
        graph: &GraphProto,
        taps: &[TapPoint],
        inputs: &[Input],
    ) -> Result<Self, ImportError> {
        let wrong = |problem: String| ImportError::Graph { path: path.to_owned(), problem };
        let config_path = beside(path, "config.json");
        if !config_path.exists() {
            let remedy = "put the model's own config.json beside the graph";
            return Err(ImportError::Missing { path: config_path, remedy });
        }
        let config = Config::beside_graph(&config_path)?;
        let keys: OnnxConfig = config.parse()?;
        let classes = config.classes()?.unwrap_or_default();
        let input = |role| inputs.iter().find(|input| input.role == role).map(|input| &*input.name);
        let ids = input(Role::Ids).unwrap_or_default();
        let found = mobillm_onnx::dimensions(graph, taps, ids, input(Role::Segments))
            .map_err(|error| wrong(error.to_string()))?;
        let agreed = |key: &str, found: Option<usize>, said: Option<usize>| match (found, said) {
            (Some(found), _) => Ok(found),
            (None, Some(said)) => Ok(said),
            (None, None) => {
                Err(config.wrong(format!("has no `{key}`, nor is it seen in the graph")))
            }
        };
        let Dimensions { hidden, vocabulary, segments } = found;
        let causal = is_decoder(&classes, keys.model_type.as_deref());
        if !causal && input(Role::Mask).is_none() {
            return Err(wrong(
                "takes no attention_mask, so that hidden states change with the padding; export it \
                 with that input"
                    .to_owned(),
            ));
        }
        let home = config_path.parent().unwrap_or(Path::new(""));
        let sentence = sentence::read(home)?;
        let own = own_prediction(graph, &classes).map_err(wrong)?;
        let labels = Labels::read(&config)?.zip(own);
        let (own, own_outputs, own_labels) = match labels {
            None => (None, None, None),
            Some((labels, (name, outputs))) => {
                (Some(name), Some(outputs), labels.names(&config, outputs)?)
            }
        };
        let info = BackboneInfo {
            architecture: keys.model_type.clone().unwrap_or_else(|| "onnx".to_owned()),
            layers: taps.len() - 1,
            hidden: agreed("hidden_size", hidden, keys.hidden_size)?,
            max_tokens: keys.max_tokens(&config, sentence.max_tokens)?,
            vocabulary: agreed("vocab_size", vocabulary, keys.vocab_size)?,
            pooling: sentence.pooling.unwrap_or(match causal {
                true => Pooling::LastToken,
                false => Pooling::FirstToken,
            }),
            own_outputs,
            language_head: false,
            bundle: Fingerprint([0; 32]),
        };
        let padding = keys.pad_token_id.and_then(|id| u32::try_from(id).ok());
        let segments = match input(Role::Segments) {
            Some(_) => segments.unwrap_or(usize::MAX),
            None => 0,
        };
        Ok(Self { info, segments, causal, padding, own, own_labels })
    }
}

impl OnnxConfig {
    /// Tokens that a text may have, `limit` or less.
    fn max_tokens(&self, config: &Config, limit: Option<usize>) -> Result<usize, ImportError> {
        let skipped = match (&self.model_type, self.pad_token_id) {
            (Some(family), padding) if OFFSET_POSITIONS.contains(&&**family) => {
                usize::try_from(padding.unwrap_or(1)).unwrap_or(0) + 1
            }
            _ => 0,
        };
        let rows = self.max_position_embeddings;
        match (rows.map(|rows| rows.saturating_sub(skipped)), limit) {
            (Some(0), _) | (_, Some(0)) | (None, None) => Err(config.wrong(
                "`max_position_embeddings` does not say how many tokens a text may have".to_owned(),
            )),
            (Some(rows), Some(limit)) => Ok(rows.min(limit)),
            (Some(only), None) | (None, Some(only)) => Ok(only),
        }
    }
}

fn is_decoder(classes: &[String], family: Option<&str>) -> bool {
    let generates =
        |class: &String| class.ends_with("ForCausalLM") || class.ends_with("LMHeadModel");
    classes.iter().any(generates) || family.is_some_and(|family| DECODERS.contains(&family))
}

/// The output of a classifier, `[batch, outputs]`, and the number of its outputs.
///
/// Fails with what is wrong if the model is a classifier and has no such output.
fn own_prediction(
    graph: &GraphProto,
    classes: &[String],
) -> Result<Option<(String, usize)>, String> {
    let classifies = classes.iter().any(|class| class.ends_with("ForSequenceClassification"));
    let output = graph.output.iter().find(|output| output.name == "logits");
    let output = output.or_else(|| graph.output.first().filter(|_| classifies));
    let Some(output) = output else { return Ok(None) };
    match output.dims().as_deref() {
        Some(&[_, Some(outputs)]) => {
            Ok(usize::try_from(outputs).ok().map(|outputs| (output.name.clone(), outputs)))
        }
        _ if classifies => Err(format!(
            "its output {:?} has the shape {}, but config.json makes it a classifier's: [batch, labels] \
             with their number known",
            output.name,
            output.shape_text().as_deref().unwrap_or("unknown")
        )),
        // The scores of a vocabulary, or labels of tokens.
        _ => Ok(None),
    }
}
