//! The tensors of a GGUF file by the names of [`network`](crate::network).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use mobillm_core::backbone::BackboneInfo;
use mobillm_gguf::{Blocks, Gguf, GgufError, GgufFile, TensorInfo, TensorType};
use mobillm_weights::{Bits, Encoding, WeightFormat};

use super::{Family, damaged};
use crate::import::ImportError;
use crate::import::layout::{Name, Slot, layout, numbered};
use crate::import::rope;
use crate::import::source::{SourceTensor, Values};
use crate::network::{Network, Rotary};

/// What divides the frequencies of rotary positions.
const FACTORS: &str = "rope_freqs.weight";

/// Our names without their ends, and GGUF's.
const STEMS: [(&str, &str); 14] = [
    ("embedding.tokens", "token_embd"),
    ("layers.N.attention.norm", "blk.N.attn_norm"),
    ("layers.N.attention.query", "blk.N.attn_q"),
    ("layers.N.attention.key", "blk.N.attn_k"),
    ("layers.N.attention.value", "blk.N.attn_v"),
    ("layers.N.attention.query_norm", "blk.N.attn_q_norm"),
    ("layers.N.attention.key_norm", "blk.N.attn_k_norm"),
    ("layers.N.attention.output", "blk.N.attn_output"),
    ("layers.N.feed_forward.norm", "blk.N.ffn_norm"),
    ("layers.N.feed_forward.gate", "blk.N.ffn_gate"),
    ("layers.N.feed_forward.up", "blk.N.ffn_up"),
    ("layers.N.feed_forward.down", "blk.N.ffn_down"),
    ("norm", "output_norm"),
    ("head.vocabulary", "output"),
];

/// GGUF's name of one of our tensors.
fn origin(name: &str) -> Option<String> {
    let Name { stem, layer, end } = Name::of(name)?;
    let (_, theirs) = STEMS.iter().find(|(ours, _)| *ours == stem)?;
    Some(format!("{}.{end}", numbered(theirs, layer)))
}

/// The tensors of `network`, in the order of its layout. No weight is read yet.
pub(super) fn collect(
    path: &Path,
    file: &Arc<GgufFile>,
    gguf: &Gguf,
    family: Family,
    network: &Network,
    info: &BackboneInfo,
) -> Result<Vec<SourceTensor>, ImportError> {
    let mut used = HashSet::from([FACTORS.to_owned()]);
    let mut tensors = Vec::new();
    for slot in layout(network, info) {
        let theirs = origin(&slot.name).unwrap_or_else(|| slot.name.clone());
        let wrong = |problem: String| damaged(path, GgufError::tensor(&theirs, problem));
        let Some(tensor) = gguf.tensor(&theirs) else {
            if slot.optional {
                continue;
            }
            return Err(wrong("is missing; the metadata are of another model".to_owned()));
        };
        if tensor.shape() != slot.shape {
            let (got, expected) = (tensor.shape(), &slot.shape);
            return Err(wrong(format!("is {got:?}, but the metadata make it {expected:?}")));
        }
        tensors.push(SourceTensor {
            read: reader(path, file, tensor, heads(family, network, &slot)),
            origin: theirs.clone(),
            blocks: blocks_in(tensor),
            name: slot.name,
            shape: slot.shape,
        });
        used.insert(theirs);
    }
    match gguf.tensors().iter().find(|tensor| !used.contains(tensor.name())) {
        None => Ok(tensors),
        Some(tensor) => {
            let problem = format!("has no place in the architecture {:?}", family.name);
            Err(damaged(path, GgufError::tensor(tensor.name(), problem)))
        }
    }
}

/// The heads in whose rows pairs are side by side, if they are.
fn heads(family: Family, network: &Network, slot: &Slot) -> Option<usize> {
    let of = |part: &str| {
        ["weight", "bias"]
            .iter()
            .any(|end| slot.name.ends_with(&format!(".attention.{part}.{end}")))
    };
    let attention = &network.attention;
    match family.interleaved {
        true if of("query") => Some(attention.heads),
        true if of("key") => Some(attention.key_heads),
        _ => None,
    }
}

/// Reads `tensor`, with the pairs of `heads` put half a head apart.
fn reader(
    path: &Path,
    file: &Arc<GgufFile>,
    tensor: &TensorInfo,
    heads: Option<usize>,
) -> Box<dyn Fn() -> Result<Values, ImportError>> {
    let (path, file, tensor) = (path.to_owned(), Arc::clone(file), tensor.clone());
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let is_matrix = tensor.shape().len() == 2;
    Box::new(move || {
        let failed = |error| damaged(&path, error);
        if is_matrix && let Some(blocks) = tensor.read_blocks(file.bytes()).map_err(failed)? {
            return blocks_of(blocks, heads)
                .map(Values::Blocks)
                .map_err(|problem| failed(GgufError::tensor(tensor.name(), problem)));
        }
        let values = tensor.read_f32(file.bytes()).map_err(failed)?;
        Ok(Values::F32(apart(values, rows, heads)))
    })
}

/// What [`blocks_of`] makes of the matrix `tensor`, if it is in blocks: its type alone says so.
fn blocks_in(tensor: &TensorInfo) -> Option<Encoding> {
    let (bits, block, offsets) = match tensor.kind() {
        TensorType::F32 | TensorType::F16 | TensorType::Bf16 => return None,
        TensorType::Q8_0 => (Bits::Eight, 32, false),
        TensorType::Q6K => (Bits::Eight, 16, false),
        TensorType::Q4_0 => (Bits::Four, 32, false),
        TensorType::Q4_1 | TensorType::Q4K => (Bits::Four, 32, true),
    };
    (tensor.shape().len() == 2).then_some(Encoding::Blocks { bits, block, offsets })
}

fn blocks_of(blocks: Blocks, heads: Option<usize>) -> Result<mobillm_weights::Blocks, String> {
    let Blocks { bits, block, rows, columns, quants, scales, offsets } = blocks;
    let bits = if bits == 4 { Bits::Four } else { Bits::Eight };
    let quants = apart(quants, rows, heads);
    let scales = apart(scales, rows, heads);
    let offsets = offsets.map(|offsets| apart(offsets, rows, heads));
    mobillm_weights::Blocks::new(bits, block, [rows, columns], quants, scales, offsets)
        .map_err(|error| format!("cannot be used: {error}"))
}

/// The rows of `values` with the first numbers of a head's pairs before the second ones.
fn apart<T: Copy>(values: Vec<T>, rows: usize, heads: Option<usize>) -> Vec<T> {
    let Some(heads) = heads else { return values };
    let (width, head) = (values.len() / rows, rows / heads);
    let order = (0..rows).map(|row| {
        let (first, at) = (row - row % head, row % head);
        let (half, pair) = (at / (head / 2), at % (head / 2));
        first + 2 * pair + half
    });
    order.flat_map(|row| &values[row * width..][..width]).copied().collect()
}

/// Divides the frequencies of `rotary` by the numbers that the file has for that, if it has any.
pub(super) fn divide_frequencies(
    file: &GgufFile,
    gguf: &Gguf,
    rotary: &mut Rotary,
) -> Result<(), GgufError> {
    let Some(tensor) = gguf.tensor(FACTORS) else { return Ok(()) };
    let wrong = |problem: String| Err(GgufError::tensor(FACTORS, problem));
    let pairs = rotary.frequencies.len();
    if tensor.shape() != [pairs] {
        return wrong(format!("is {:?}, expected [{pairs}], half a head", tensor.shape()));
    }
    for (frequency, factor) in rotary.frequencies.iter_mut().zip(tensor.read_f32(file.bytes())?) {
        if !(factor.is_finite() && factor > 0.0) {
            return wrong(format!("has the factor {factor}, expected more than 0"));
        }
        *frequency /= factor;
    }
    rope::check(&rotary.frequencies).or_else(wrong)
}

/// The format that most weights of the file are nearest to.
pub(super) fn format(gguf: &Gguf) -> WeightFormat {
    let formats = [WeightFormat::F32, WeightFormat::F16, WeightFormat::Q8, WeightFormat::Q4];
    let of = |kind: TensorType| match kind {
        // f16 cannot hold all numbers of bf16.
        TensorType::F32 | TensorType::Bf16 => WeightFormat::F32,
        TensorType::F16 => WeightFormat::F16,
        TensorType::Q8_0 | TensorType::Q6K => WeightFormat::Q8,
        TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4K => WeightFormat::Q4,
    };
    // The embedding of a small model outweighs its layers, and is often of another type.
    let layers = || gguf.tensors().iter().filter(|tensor| tensor.name().starts_with("blk."));
    let weight = |format: &WeightFormat| -> usize {
        let same = layers().filter(|tensor| of(tensor.kind()) == *format);
        same.map(|tensor| tensor.shape().iter().product::<usize>()).sum()
    };
    formats.into_iter().max_by_key(weight).unwrap_or(WeightFormat::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_side_by_side_go_half_a_head_apart() {
        // Two heads of six rows of two values: row 2 p + h of a head is number h of pair p.
        let values: Vec<usize> = (0..24).collect();
        let rows: Vec<usize> = apart(values, 12, Some(2)).chunks(2).map(|row| row[0] / 2).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn names_are_those_of_llama_cpp() {
        for (ours, theirs) in [
            ("embedding.tokens.weight", "token_embd.weight"),
            ("layers.12.attention.key.bias", "blk.12.attn_k.bias"),
            ("layers.0.feed_forward.down.weight", "blk.0.ffn_down.weight"),
            ("norm.weight", "output_norm.weight"),
        ] {
            assert_eq!(origin(ours).as_deref(), Some(theirs));
        }
        assert_eq!(origin("classifier.dense.weight"), None);
    }
}
