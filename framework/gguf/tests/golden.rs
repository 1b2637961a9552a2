//! Blocks of every type against the `gguf` package of llama.cpp, bit by bit.
//!
//! `golden/blocks.py` makes the figures and says what they are.

use std::collections::BTreeMap;

use mobillm_gguf::fixture::GgufBuilder;
use mobillm_gguf::{Gguf, TensorType};
use serde::Deserialize;

const BLOCKS: usize = 64;

#[derive(Deserialize)]
struct Golden {
    first: [u32; 8],
    hash: String,
}

/// Where the half-precision numbers of a block are.
fn halves(kind: TensorType) -> &'static [usize] {
    match kind {
        TensorType::F32 => &[],
        TensorType::Q4_1 | TensorType::Q4K => &[0, 2],
        TensorType::Q6K => &[208],
        _ => &[0],
    }
}

fn blocks(kind: TensorType) -> Vec<u8> {
    let size = kind.block_bytes() * BLOCKS;
    let numbers = (1..=size.div_ceil(8) as u64).flat_map(|index| {
        let mut bits = index.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(kind.code().into());
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)).to_le_bytes()
    });
    let mut bytes: Vec<u8> = numbers.take(size).collect();
    for block in bytes.chunks_exact_mut(kind.block_bytes()) {
        for at in halves(kind) {
            block[at + 1] &= 0xbf;
        }
    }
    bytes
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn every_type_decodes_as_llama_cpp_has_it() {
    let golden: BTreeMap<String, Golden> =
        serde_json::from_str(include_str!("../golden/blocks.json")).unwrap();
    let quantized = TensorType::ALL.into_iter().filter(|kind| *kind != TensorType::F32);
    for kind in quantized {
        let shape = [BLOCKS, kind.block_values()];
        let file = GgufBuilder::new().tensor("tensor", &shape, kind, &blocks(kind)).build();
        let values = Gguf::parse(&file).unwrap().tensors()[0].read_f32(&file).unwrap();
        let golden = &golden[&kind.to_string()];
        assert_eq!(values[..8], golden.first.map(f32::from_bits), "{kind}");
        let hash = fnv(values.iter().flat_map(|value| value.to_le_bytes()));
        assert_eq!(format!("{hash:016x}"), golden.hash, "{kind}");
    }
}
