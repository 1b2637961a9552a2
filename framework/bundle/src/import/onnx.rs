//! ONNX graphs that somebody else exported, from any exporter: taps are added, and the weights move to
//! safetensors. What the graph computes stays as it is. Weights may be quantized; activations may not be
//! with one scale for a whole batch, as ONNX Runtime's `quantize_dynamic` does: a text's hidden states
//! would depend on what it is batched with.
//!
//! Beside the graph, or in the folder above it, lie the model's `tokenizer.json` and `config.json`, as
//! exporters leave them. The config says how many tokens a text may have, what batches are padded with
//! and what the outputs of a classifier are called; the rest is read from the graph, and where both say
//! it, they must agree.

use std::path::{Path, PathBuf};

use mobillm_core::backbone::BackboneInfo;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_onnx::messages::{FLOAT, GraphProto, ModelProto, NodeProto};
use mobillm_onnx::{Dimensions, Input, InputError, ModelFiles, Own, Role, TapError, TapPoint};
use mobillm_weights::WeightFormat;
use prost::Message;

use self::keys::Keys;
use super::config::Config;
use super::head::Labels;
use super::hugging_face::tokenizer;
use super::sentence;
use super::{ImportError, ImportOptions};
use crate::bundle::Bundle;
use crate::manifest::{Contents, GRAPH, OWN_PREDICTION, TOKENIZER};
use crate::writer::{write_file, write_whole};

mod keys;
mod weights;

/// Before this version of the format, weights were inputs too.
const OLDEST_IR: i64 = 4;

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
    let opset = model.opset();
    let graph = model.graph.as_mut().ok_or_else(|| wrong("has no graph".to_owned()))?;
    let config_path = beside(path, "config.json");
    let config = config(&config_path)?;
    let keys = Keys::read(&config)?;
    mobillm_onnx::hoist_constants(graph);
    let taps = taps(graph, &options.taps, &keys).map_err(wrong)?;
    let inputs = inputs(graph, opset, &keys).map_err(|error| wrong(error.to_string()))?;
    let foreign = Foreign::read(path, graph, &taps, &inputs, (&config, &keys))?;
    let tokenizer = tokenizer(&beside(path, TOKENIZER))?;
    let padding = tokenizer.check(&foreign.info, foreign.segments, foreign.causal, keys.padding)?;
    let own = foreign.own.as_ref().zip(foreign.info.own_outputs);
    let own = own.map(|(from, outputs)| Own { from, to: OWN_PREDICTION, outputs });
    mobillm_onnx::rewrite(graph, &taps, &inputs, foreign.info.hidden, own);
    check_batches(&model, foreign.info.layers, foreign.causal).map_err(wrong)?;
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

fn config(path: &Path) -> Result<Config, ImportError> {
    if !path.exists() {
        let remedy = "put the model's own config.json beside the graph";
        return Err(ImportError::Missing { path: path.to_owned(), remedy });
    }
    Config::beside_graph(path)
}

/// The taps of `graph`: the values called `names`, or if there are no names, the residual stream of as
/// many layers as the config says.
///
/// Fails with what is wrong and what to do.
fn taps(graph: &GraphProto, names: &[String], keys: &Keys) -> Result<Vec<TapPoint>, String> {
    let found = mobillm_onnx::taps(graph, names).and_then(|taps| match keys.layers {
        Some((_, layers)) if names.is_empty() => {
            mobillm_onnx::check_layers(graph, &taps, layers).map(|()| taps)
        }
        _ => Ok(taps),
    });
    found.map_err(|error| match error {
        TapError::Stream { .. } | TapError::Layers { .. } | TapError::Named { .. } => {
            format!("{error}\nName them with `mobillm import ... --tap VALUE`, once for each value")
        }
        error => error.to_string(),
    })
}

/// The inputs of `graph`, which speaks version `opset` of ONNX's operators.
fn inputs(graph: &GraphProto, opset: Option<i64>, keys: &Keys) -> Result<Vec<Input>, InputError> {
    let mut inputs = mobillm_onnx::inputs(graph)?;
    for input in inputs.iter_mut().filter(|input| input.role == Role::Positions) {
        input.first = keys.first_position().into();
    }
    // Without a version, engines take the newest.
    mobillm_onnx::check_opset(&inputs, opset.unwrap_or(i64::MAX))?;
    Ok(inputs)
}

/// Checks that a text's hidden states in the rewritten `model` of `layers` layers depend neither on its
/// padding nor on its batch mates.
///
/// Fails with what is wrong and what to do.
fn check_batches(model: &ModelProto, layers: usize, causal: bool) -> Result<(), String> {
    let graph = model.graph.iter();
    if !causal {
        graph.clone().try_for_each(|graph| check_mask(graph, layers))?;
    }
    let functions = model.functions.iter().flat_map(|function| &function.node);
    let mixing = graph.flat_map(|graph| &graph.node).chain(functions).find_map(mixing_batch);
    mixing.map_or(Ok(()), |node| {
        Err(format!(
            "its {node} scales activations by the largest of the whole batch, so that hidden states \
             depend on a text's batch mates; take a graph in which the weights alone are quantized"
        ))
    })
}

/// Checks that the hidden states of an encoder's rewritten `graph` depend on the mask.
///
/// Fails with what is wrong and what to do.
fn check_mask(graph: &GraphProto, layers: usize) -> Result<(), String> {
    let mask = Role::Mask.name();
    let last = format!("tap.{layers}");
    let remedy = "so that hidden states change with the padding; export it with an attention that takes \
                  that input";
    if !graph.input.iter().any(|input| input.name == mask) {
        return Err(format!("takes no {mask}, or does nothing with it, {remedy}"));
    }
    match mobillm_onnx::depends_on(graph, &last, mask).map_err(|error| error.to_string())? {
        true => Ok(()),
        false => Err(format!("its {mask} has no effect on the taps, {remedy}")),
    }
}

/// The operator of `node` or of a node within it that quantizes activations over all of its input, if
/// there is one.
fn mixing_batch(node: &NodeProto) -> Option<&str> {
    match &*node.op_type {
        op_type @ ("DynamicQuantizeLinear" | "DynamicQuantizeMatMul") => Some(op_type),
        _ => node.subgraphs().flat_map(|graph| &graph.node).find_map(mixing_batch),
    }
}

/// What is known of a foreign model.
struct Foreign {
    info: BackboneInfo,
    /// Segments that it tells apart; 0 for none.
    segments: usize,
    /// Whether a token sees only those before it.
    causal: bool,
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
        (config, keys): (&Config, &Keys),
    ) -> Result<Self, ImportError> {
        let wrong = |problem: String| ImportError::Graph { path: path.to_owned(), problem };
        let input = |role| inputs.iter().find(|input| input.role == role).map(|input| &*input.name);
        let ids = input(Role::Ids).unwrap_or_default();
        let found = mobillm_onnx::dimensions(graph, taps, ids, input(Role::Segments))
            .map_err(|error| wrong(error.to_string()))?;
        let Dimensions { hidden, vocabulary, segments } = found;
        let sentence = sentence::read(config.path().parent().unwrap_or(Path::new("")))?;
        let cached = input(Role::Cache).is_some();
        let (causal, pooling) = keys.direction(config, cached, sentence.pooling)?;
        let own = own_prediction(graph, taps, &keys.classes).map_err(wrong)?;
        let labels = Labels::read(config)?.zip(own);
        let (own, own_outputs, own_labels) = match labels {
            None => (None, None, None),
            Some((labels, (name, outputs))) => {
                (Some(name), Some(outputs), labels.names(config, outputs)?)
            }
        };
        let info = BackboneInfo {
            architecture: keys.family.clone().unwrap_or_else(|| "onnx".to_owned()),
            layers: taps.len() - 1,
            hidden: keys.hidden(config, hidden)?,
            max_tokens: keys.max_tokens(config, sentence.max_tokens)?,
            vocabulary: keys.vocabulary(config, vocabulary)?,
            pooling,
            own_outputs,
            language_head: false,
            bundle: Fingerprint([0; 32]),
        };
        let segments = match input(Role::Segments) {
            Some(_) => segments.unwrap_or(usize::MAX),
            None => 0,
        };
        Ok(Self { info, segments, causal, own, own_labels })
    }
}

/// The output of a classifier, `[batch, outputs]`, and the number of its outputs.
///
/// Fails with what is wrong if the model is a classifier and has no such output, or if the output is one
/// of `taps` or not of float values.
fn own_prediction(
    graph: &GraphProto,
    taps: &[TapPoint],
    classes: &[String],
) -> Result<Option<(String, usize)>, String> {
    let classifies = classes.iter().any(|class| class.ends_with("ForSequenceClassification"));
    let output = graph.output.iter().find(|output| output.name == "logits");
    let output = output.or_else(|| graph.output.first().filter(|_| classifies));
    let Some(output) = output else { return Ok(None) };
    let outputs = match output.dims().as_deref() {
        Some(&[_, Some(outputs)]) => usize::try_from(outputs).ok().filter(|outputs| *outputs > 0),
        // The scores of a vocabulary, or labels of tokens.
        _ => None,
    };
    let Some(outputs) = outputs else {
        return match classifies {
            true => Err(format!(
                "its output {:?} has the shape {}, but config.json makes it a classifier's: [batch, \
                 labels] with their number known",
                output.name,
                output.shape_text().as_deref().unwrap_or("unknown")
            )),
            false => Ok(None),
        };
    };
    let is_tap = |tap: &TapPoint| graph.node[tap.node].output.get(tap.output) == Some(&output.name);
    if taps.iter().any(is_tap) {
        return Err(format!(
            "the tap {:?} is what the model answers for a whole text, [batch, labels]; a tap is \
             [batch, tokens, hidden]",
            output.name
        ));
    }
    match output.elem_type() {
        Some(FLOAT) => Ok(Some((output.name.clone(), outputs))),
        other => Err(format!(
            "its output {:?} has the element type {}, expected 1 (float); export the model in float32",
            output.name,
            other.unwrap_or_default()
        )),
    }
}
