//! The tensors of a network: their names, as the docs of [`network`](crate::network) list them, and
//! their shapes.

use mobillm_core::backbone::BackboneInfo;

use crate::network::{Attention, FeedForward, Head, Network, NormKind, Positions};

/// A tensor that a network has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its name.
    pub(crate) name: String,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// Whether a network may do without it: the bias of a linear map.
    pub(crate) optional: bool,
}

/// The name of a tensor in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// What comes before `.weight` or `.bias`, with N for the number of a layer.
    pub(super) stem: String,
    /// That number.
    pub(super) layer: Option<&'a str>,
    /// "weight" or "bias".
    pub(super) end: &'a str,
}

impl<'a> Name<'a> {
    /// The parts of `name`.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let (stem, end) = name.rsplit_once('.')?;
        let layer = stem.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        let number = layer.map(|(number, _)| number);
        let stem = layer.map_or(stem.to_owned(), |(_, part)| format!("layers.N.{part}"));
        Some(Self { stem, layer: number, end })
    }
}

/// A foreign `stem` with the number of a layer in place of its N.
pub(super) fn numbered(stem: &str, layer: Option<&str>) -> String {
    layer.map_or(stem.to_owned(), |number| stem.replacen('N', number, 1))
}

/// All tensors of `network`, one after the other: a config may claim any number of layers.
pub(crate) fn layout(network: &Network, info: &BackboneInfo) -> impl Iterator<Item = Slot> {
    let layers = (0..info.layers).flat_map(move |layer| layer_slots(network, info.hidden, layer));
    embedding(network, info).into_iter().chain(layers).chain(head(network, info))
}

fn embedding(network: &Network, info: &BackboneInfo) -> Vec<Slot> {
    let (embedding, hidden) = (&network.embedding, info.hidden);
    let mut slots =
        vec![required("embedding.tokens.weight", vec![info.vocabulary, embedding.width])];
    if let Positions::Learned { rows, .. } = embedding.positions {
        slots.push(required("embedding.positions.weight", vec![rows, hidden]));
    }
    if embedding.segments > 0 {
        slots.push(required("embedding.segments.weight", vec![embedding.segments, hidden]));
    }
    if embedding.width != hidden {
        slots.push(required("embedding.projection.weight", vec![hidden, embedding.width]));
    }
    if embedding.normed {
        slots.extend(norm(network, "embedding.norm", hidden));
    }
    slots
}

fn layer_slots(network: &Network, hidden: usize, layer: usize) -> Vec<Slot> {
    let Attention { heads, key_heads, head_width, normed, .. } = network.attention;
    let FeedForward { inner, gated, .. } = network.feed_forward;
    let name = |part: &str| format!("layers.{layer}.{part}");
    let mut slots = norm(network, &name("attention.norm"), hidden);
    for (part, heads) in [("query", heads), ("key", key_heads), ("value", key_heads)] {
        slots.extend(linear(&name(&format!("attention.{part}")), heads * head_width, hidden));
    }
    if normed {
        for part in ["query_norm", "key_norm"] {
            slots.push(required(name(&format!("attention.{part}.weight")), vec![head_width]));
        }
    }
    slots.extend(linear(&name("attention.output"), hidden, heads * head_width));
    slots.extend(norm(network, &name("feed_forward.norm"), hidden));
    if gated {
        slots.extend(linear(&name("feed_forward.gate"), inner, hidden));
    }
    slots.extend(linear(&name("feed_forward.up"), inner, hidden));
    slots.extend(linear(&name("feed_forward.down"), hidden, inner));
    slots
}

fn head(network: &Network, info: &BackboneInfo) -> Vec<Slot> {
    let (hidden, width) = (info.hidden, network.embedding.width);
    let mut slots = Vec::new();
    if network.final_norm {
        slots.extend(norm(network, "norm", hidden));
    }
    match network.head {
        None => {}
        Some(Head::Classifier { outputs, .. }) => {
            slots.extend(linear("classifier.dense", hidden, hidden));
            slots.extend(linear("classifier.output", outputs, hidden));
        }
        Some(Head::Vocabulary { tied }) => {
            if width != hidden {
                slots.push(required("head.projection.weight", vec![width, hidden]));
            }
            if !tied {
                slots.push(required("head.vocabulary.weight", vec![info.vocabulary, width]));
            }
        }
    }
    slots
}

fn required(name: impl Into<String>, shape: Vec<usize>) -> Slot {
    Slot { name: name.into(), shape, optional: false }
}

fn linear(name: &str, outputs: usize, inputs: usize) -> [Slot; 2] {
    let bias = Slot { name: format!("{name}.bias"), shape: vec![outputs], optional: true };
    [required(format!("{name}.weight"), vec![outputs, inputs]), bias]
}

fn norm(network: &Network, name: &str, hidden: usize) -> Vec<Slot> {
    let parts: &[&str] = match network.norm.kind {
        NormKind::Layer => &["weight", "bias"],
        NormKind::Rms => &["weight"],
    };
    parts.iter().map(|part| required(format!("{name}.{part}"), vec![hidden])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mobillm_core::backbone::Pooling;
    use mobillm_core::fingerprint::Fingerprint;
    use proptest::prelude::*;

    use super::*;
    use crate::network::{Activation, Embedding, Norm, Placement};

    prop_compose! {
        fn networks()(
            (width, segments, inner) in (1_usize..9, 0_usize..3, 1_usize..9),
            (embedding_normed, heads_normed, gated, final_norm) in any::<(bool, bool, bool, bool)>(),
            learned in any::<bool>(),
            rms in any::<bool>(),
            head in 0..4,
        ) -> Network {
            let activation = Activation::Tanh;
            let learned_rows = Positions::Learned { rows: 9, offset: 2 };
            Network {
                embedding: Embedding {
                    width,
                    positions: if learned { learned_rows } else { Positions::None },
                    segments,
                    normed: embedding_normed,
                },
                attention: Attention {
                    heads: 6,
                    key_heads: 2,
                    head_width: 5,
                    causal: head > 1,
                    normed: heads_normed,
                    rotary: None,
                },
                feed_forward: FeedForward { inner, activation, gated },
                norm: Norm {
                    kind: if rms { NormKind::Rms } else { NormKind::Layer },
                    epsilon: 1e-5,
                },
                placement: Placement::Before,
                final_norm,
                head: match head {
                    0 => None,
                    1 => Some(Head::Classifier { activation, outputs: 3 }),
                    _ => Some(Head::Vocabulary { tied: head == 2 }),
                },
            }
        }
    }

    fn info(layers: usize, hidden: usize) -> BackboneInfo {
        BackboneInfo {
            architecture: String::new(),
            layers,
            hidden,
            max_tokens: 7,
            vocabulary: 11,
            pooling: Pooling::Mean,
            own_outputs: None,
            language_head: false,
            bundle: Fingerprint([0; 32]),
        }
    }

    proptest! {
        #[test]
        fn every_tensor_has_a_name_of_its_own_that_the_docs_list(
            network in networks(),
            layers in 1_usize..4,
            hidden in 1_usize..9,
        ) {
            let docs = include_str!("../network.rs");
            let mut seen = HashSet::new();
            for slot in layout(&network, &info(layers, hidden)) {
                prop_assert!(slot.shape.iter().all(|size| *size > 0));
                let documented = (0..layers).fold(slot.name.clone(), |name, layer| {
                    name.replace(&format!("layers.{layer}."), "layers.<i>.")
                });
                // The docs put what tensors have in common before braces.
                let words: Vec<&str> = documented.split('.').collect();
                let is_in = |line: &str| {
                    line.starts_with(&format!("//! {}.", words[0]))
                        && words[1..].iter().all(|word| line.contains(word))
                };
                prop_assert!(docs.lines().any(is_in), "{} is not in the docs", documented);
                prop_assert!(seen.insert(slot.name));
            }
        }

        #[test]
        fn layers_are_alike(network in networks(), layers in 1_usize..4, hidden in 1_usize..9) {
            let count = |layers| layout(&network, &info(layers, hidden)).count();
            prop_assert_eq!(count(layers) - count(0), layers * (count(1) - count(0)));
        }
    }
}
