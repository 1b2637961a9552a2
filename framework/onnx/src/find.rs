//! Finds the taps of a graph, or says which values to choose from.

use std::fmt::Write;

use thiserror::Error;

use crate::messages::{BFLOAT16, DOUBLE, FLOAT16, GraphProto};
use crate::stream::{TapPoint, Uncertain, search};
use crate::view::{GraphError, Value, View};

/// Values that an error lists.
const LISTED: usize = 48;

/// Why a graph has no taps.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TapError {
    /// The graph cannot be followed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The residual stream was not found for certain.
    #[error(
        "no residual stream was found for certain: {problem}. Name its values, the embedding \
         first, then the output of every layer{candidates}"
    )]
    Stream {
        /// What the search met.
        problem: &'static str,
        /// The values to choose from, a line each.
        candidates: String,
    },
    /// The residual stream that was found is not that of all layers, or of more than there are.
    #[error(
        "{found} layers were found, but the model's config says {expected}. Name the values of the \
         residual stream, the embedding first, then the output of every layer{candidates}"
    )]
    Layers {
        /// Layers that the search found.
        found: usize,
        /// Layers that the model has.
        expected: usize,
        /// The values to choose from, a line each.
        candidates: String,
    },
    /// A value that was named is no tap.
    #[error("the tap {name:?} {problem}{candidates}")]
    Named {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
        /// The values to choose from, a line each.
        candidates: String,
    },
    /// Hidden states are not in single precision.
    #[error(
        "the hidden states {name:?} are {got}, but taps are float; export the model in float32"
    )]
    Type {
        /// The tap.
        name: String,
        /// Its element type.
        got: &'static str,
    },
}

impl Uncertain {
    fn problem(&self) -> &'static str {
        match self {
            Self::None => "no value is added to what attention made of it",
            Self::Several => {
                "there are several of one length, such as an encoder's and a decoder's"
            }
            Self::Uneven => "its layers differ in their number of sums",
            Self::End => "it is not clear where its last layer ends",
            Self::Work => "the graph is too entangled",
        }
    }
}

/// The taps of `graph`, the embedding's first: the values called `names`, or if there are no names,
/// the residual stream.
///
/// # Errors
/// If the graph cannot be followed, has no residual stream that is one for certain, lacks one of
/// `names` or has them in another order, or if hidden states are not in single precision.
pub fn taps(graph: &GraphProto, names: &[String]) -> Result<Vec<TapPoint>, TapError> {
    let view = View::new(graph)?;
    let taps = match names {
        [] => search(&view).map_err(|uncertain| TapError::Stream {
            problem: uncertain.problem(),
            candidates: candidates(&view),
        })?,
        _ => named(&view, names)?,
    };
    for tap in &taps {
        let Some(value) = view.output(tap.node, tap.output) else { continue };
        let got = match elem_type(&view, value) {
            Some(FLOAT16) => "float16",
            Some(BFLOAT16) => "bfloat16",
            Some(DOUBLE) => "double",
            _ => continue,
        };
        return Err(TapError::Type { name: view.name(value).to_owned(), got });
    }
    Ok(taps)
}

/// Checks that `taps`, which a search found in `graph`, are those of `expected` layers.
///
/// # Errors
/// If they are not.
pub fn check_layers(
    graph: &GraphProto,
    taps: &[TapPoint],
    expected: usize,
) -> Result<(), TapError> {
    let found = taps.len().saturating_sub(1);
    if found == expected {
        return Ok(());
    }
    Err(TapError::Layers { found, expected, candidates: candidates(&View::new(graph)?) })
}

fn named(view: &View<'_>, names: &[String]) -> Result<Vec<TapPoint>, TapError> {
    let mut taps: Vec<TapPoint> = Vec::new();
    for name in names {
        let wrong = |problem: String| TapError::Named {
            name: name.clone(),
            problem,
            candidates: candidates(view),
        };
        let value = view.find(name).ok_or_else(|| wrong("is no value of the graph".to_owned()))?;
        let (node, output) = view
            .maker(value)
            .filter(|_| view.is_moving(value))
            .ok_or_else(|| wrong("does not depend on the tokens".to_owned()))?;
        if taps.last().is_some_and(|last| (last.node, last.output) >= (node, output)) {
            return Err(wrong("is made before the tap that is named before it".to_owned()));
        }
        taps.push(TapPoint { node, output });
    }
    match (&taps[..], names) {
        ([_], [name]) => Err(TapError::Named {
            name: name.clone(),
            problem: "is the only one, expected the embedding and the output of every layer"
                .to_owned(),
            candidates: candidates(view),
        }),
        _ => Ok(taps),
    }
}

/// The results of sums and norms, a line each with operator and shape.
fn candidates(view: &View<'_>) -> String {
    let is_candidate = |node: usize| {
        let op_type = &*view.nodes()[node].op_type;
        let sum = op_type == "Add" && view.moving_inputs(node).count() == 2;
        sum || op_type.ends_with("Normalization")
    };
    let values: Vec<Value> = (0..view.nodes().len())
        .filter(|&node| is_candidate(node))
        .filter_map(|node| view.output(node, 0))
        .filter(|&value| view.is_moving(value))
        .collect();
    let mut text = match values.len() {
        0 => String::from("; it has no sums and norms to choose from"),
        1..=LISTED => String::from(". Sums and norms to choose from:"),
        all => format!(". The first {LISTED} of {all} sums and norms to choose from:"),
    };
    for &value in values.iter().take(LISTED) {
        let op_type = view.maker(value).map_or("", |(node, _)| &*view.nodes()[node].op_type);
        // Writing to a string does not fail.
        let _ = write!(text, "\n    {} ({op_type}{})", view.name(value), shape(view, value));
    }
    text
}

fn shape(view: &View<'_>, value: Value) -> String {
    let text = view.declared(value).and_then(|info| info.shape_text());
    text.map_or_else(String::new, |text| format!(", {text}"))
}

/// The element type of `value`, as far as it is written down or follows from what it was made of.
fn elem_type(view: &View<'_>, mut value: Value) -> Option<i32> {
    loop {
        if let Some(declared) = view.declared(value).and_then(|info| info.elem_type()) {
            return Some(declared);
        }
        if let Some(tensor) = view.tensor(value) {
            return Some(tensor.data_type);
        }
        let (node, _) = view.maker(value)?;
        match &*view.nodes()[node].op_type {
            "Cast" => return Some(view.nodes()[node].attribute("to")?.i as i32),
            "Add"
            | "Mul"
            | "Gather"
            | "Identity"
            | "LayerNormalization"
            | "SkipLayerNormalization"
            | "SkipSimplifiedLayerNormalization"
            | "MatMul" => value = view.input(node, 0)?,
            "EmbedLayerNormalization" => value = view.input(node, 2)?,
            _ => return None,
        }
    }
}
