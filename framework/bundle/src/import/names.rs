//! Where the tensors of a network are in a checkpoint of another naming.

use std::collections::HashSet;

use mobillm_core::backbone::BackboneInfo;

use super::ImportError;
use super::checkpoint::{Checkpoint, View};
use super::layout::{Name, Slot, layout, numbered};
use super::source::SourceTensor;
use crate::network::Network;

/// What a family calls its tensors.
pub(super) struct Names {
    /// Our names without `.weight` and `.bias`, and theirs; N stands for the number of a layer.
    pub(super) stems: Vec<(&'static str, Origin)>,
    /// Which linear maps of a layer have biases.
    pub(super) biases: Biases,
    /// How the names of tensors begin that bear on hidden states: one of them that is not used means that
    /// the model computes something else.
    pub(super) body: &'static [&'static str],
}

/// Where a linear map, norm or table is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// As it is.
    Same(&'static str),
    /// Its matrix is `[inputs, outputs]` there.
    Transposed(&'static str),
    /// The matrices of query, key and value are one, `[inputs, 3 * outputs]`; this is the k-th.
    Third(&'static str, usize),
}

/// Which linear maps of a layer have biases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Biases {
    pub(super) query_key_value: bool,
    pub(super) attention_output: bool,
    pub(super) feed_forward: bool,
}

impl Biases {
    pub(super) const ALL: Self = Self::all(true);

    pub(super) const fn all(there: bool) -> Self {
        Self { query_key_value: there, attention_output: there, feed_forward: there }
    }

    /// Whether the linear map `stem` has one; those outside of layers do.
    fn has(self, stem: &str) -> bool {
        match stem.strip_prefix("layers.N.") {
            None => true,
            Some("attention.output") => self.attention_output,
            Some(part) if part.starts_with("attention.") => self.query_key_value,
            Some(_) => self.feed_forward,
        }
    }
}

/// Buffers that old versions of `transformers` kept with the weights, and a map that only a head needs.
const UNUSED: &[&str] = &[
    ".position_ids",
    ".token_type_ids",
    ".rotary_emb.inv_freq",
    ".attn.bias",
    ".attn.masked_bias",
    "decoder.project_out.weight",
];

/// The tensors of `network` in `checkpoint`.
///
/// # Errors
/// If one is missing or of another shape, or if one is left that should have been used.
pub(super) fn collect(
    network: &Network,
    info: &BackboneInfo,
    names: &Names,
    checkpoint: &Checkpoint,
) -> Result<Vec<SourceTensor>, ImportError> {
    let mut used = HashSet::new();
    let mut tensors = Vec::new();
    for slot in layout(network, info) {
        let Some((name, view)) = names.origin(&slot) else { continue };
        let wrong = |problem| ImportError::Tensor { name: name.clone(), problem };
        let found = checkpoint
            .find(&name)
            .ok_or_else(|| wrong("is missing, but config.json needs it".to_owned()))?;
        let (got, expected) = (checkpoint.shape(&found), view.source_shape(&slot.shape));
        if got != expected {
            return Err(wrong(format!("is {got:?}, but config.json makes it {expected:?}")));
        }
        tensors.push(SourceTensor {
            origin: found.clone(),
            name: slot.name,
            blocks: None,
            read: checkpoint.reader(&found, view, &slot.shape),
            shape: slot.shape,
        });
        used.insert(found);
    }
    let left = |name: &&str| {
        let plain = checkpoint.plain(name);
        !used.contains(*name)
            && names.body.iter().any(|start| plain.starts_with(start))
            && !UNUSED.iter().any(|end| plain.ends_with(end))
    };
    match checkpoint.names().find(left) {
        None => Ok(tensors),
        Some(name) => Err(ImportError::Tensor {
            name: name.to_owned(),
            problem: "has no place in the architecture that config.json describes".to_owned(),
        }),
    }
}

impl Names {
    /// Name and view of `slot` in the checkpoint, if this family has it.
    fn origin(&self, slot: &Slot) -> Option<(String, View)> {
        let Name { stem, layer, end } = Name::of(&slot.name)?;
        if slot.optional && !self.biases.has(&stem) {
            return None;
        }
        let (_, origin) = self.stems.iter().find(|(ours, _)| *ours == stem)?;
        let (theirs, view) = match *origin {
            Origin::Same(theirs) => (theirs, View::Same),
            Origin::Third(theirs, part) => (theirs, View::Third(part)),
            Origin::Transposed(theirs) if end == "weight" => (theirs, View::Transposed),
            Origin::Transposed(theirs) => (theirs, View::Same),
        };
        Some((format!("{}.{end}", numbered(theirs, layer)), view))
    }
}
