//! Quantized blocks: taken apart, decoded, and put into the order of `MatMulNBits`.
//!
//! Every quantized type is read as unsigned codes with a scale, and a minimum where there is one, for
//! each group of 32 or 16 values: `value = (code - zero) * scale (+ minimum)`, in that order of
//! roundings, which is that of GGML.

use half::f16;

use crate::TensorType;

/// A quantized matrix as its file has it: each row is cut into blocks of `block` columns, and
/// `value = (code - 2^(bits - 1)) * scale (+ offset)`.
///
/// Codes and scales are the file's own, so that values of Q8_0, Q4_0 and Q6_K are equal to
/// [`TensorInfo::read_f32`] bit by bit. Those of Q4_1 and Q4_K, `code * d + m`, have the scale d and the
/// offset `m + 8 d`, whose rounding moves a value by the last bits of m and 8 d.
///
/// [`TensorInfo::read_f32`]: crate::TensorInfo::read_f32
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    /// Bits of a code, 4 or 8; those of Q6_K are widened to 8.
    pub bits: u8,
    /// Columns that share a scale.
    pub block: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub columns: usize,
    /// Codes `[rows, columns / block, bytes of a block]`; of 4 bit codes the earlier in the low nibble.
    pub quants: Vec<u8>,
    /// Scales `[rows, columns / block]`.
    pub scales: Vec<f32>,
    /// Offsets `[rows, columns / block]`.
    pub offsets: Option<Vec<f32>>,
}

/// How a quantized type reads.
struct Layout {
    bits: u8,
    /// Values that share a scale.
    group: usize,
    /// The code of zero.
    zero: f32,
    /// Whether groups have a minimum.
    minima: bool,
    unpack: fn(&[u8], &mut Parts),
}

/// A block taken apart; smaller blocks use the front.
struct Parts {
    codes: [u8; 256],
    scales: [f32; 16],
    minima: [f32; 16],
}

impl Layout {
    fn of(kind: TensorType) -> Option<Self> {
        let (bits, group, zero, minima, unpack): (_, _, _, _, fn(&[u8], &mut Parts)) = match kind {
            TensorType::F32 | TensorType::F16 | TensorType::Bf16 => return None,
            TensorType::Q8_0 => (8, 32, 128.0, false, unpack_q8_0),
            TensorType::Q4_0 => (4, 32, 8.0, false, unpack_q4_0),
            TensorType::Q4_1 => (4, 32, 0.0, true, unpack_q4_1),
            TensorType::Q4K => (4, 32, 0.0, true, unpack_q4_k),
            TensorType::Q6K => (8, 16, 128.0, false, unpack_q6_k),
        };
        Some(Self { bits, group, zero, minima, unpack })
    }

    /// Takes one block after the other apart.
    fn each(&self, kind: TensorType, bytes: &[u8], mut visit: impl FnMut(&Parts)) {
        let mut parts = Parts { codes: [0; 256], scales: [0.0; 16], minima: [0.0; 16] };
        for block in bytes.chunks_exact(kind.block_bytes()) {
            (self.unpack)(block, &mut parts);
            visit(&parts);
        }
    }
}

/// The values of a tensor; none if its type is not quantized.
pub(crate) fn decode(kind: TensorType, bytes: &[u8]) -> Vec<f32> {
    let mut values = Vec::with_capacity(bytes.len() / kind.block_bytes() * kind.block_values());
    let Some(layout) = Layout::of(kind) else { return values };
    layout.each(kind, bytes, |parts| {
        let groups = parts.codes[..kind.block_values()].chunks_exact(layout.group);
        for (group, codes) in groups.enumerate() {
            let (scale, minimum) = (parts.scales[group], parts.minima[group]);
            let scaled = codes.iter().map(|&code| (f32::from(code) - layout.zero) * scale);
            // Adding a zero would turn -0 into 0.
            match layout.minima {
                true => values.extend(scaled.map(|value| value + minimum)),
                false => values.extend(scaled),
            }
        }
    });
    values
}

/// A matrix in blocks; `None` if its type is not quantized.
pub(crate) fn read(kind: TensorType, [rows, columns]: [usize; 2], bytes: &[u8]) -> Option<Blocks> {
    let layout = Layout::of(kind)?;
    let blocks = bytes.len() / kind.block_bytes();
    let groups = kind.block_values() / layout.group;
    let mut quants =
        Vec::with_capacity(blocks * kind.block_values() * usize::from(layout.bits) / 8);
    let mut scales = Vec::with_capacity(blocks * groups);
    let mut offsets = Vec::with_capacity(if layout.minima { blocks * groups } else { 0 });
    layout.each(kind, bytes, |parts| {
        let codes = &parts.codes[..kind.block_values()];
        match layout.bits {
            4 => quants.extend(codes.as_chunks::<2>().0.iter().map(|&[low, high]| low | high << 4)),
            _ => quants.extend_from_slice(codes),
        }
        scales.extend_from_slice(&parts.scales[..groups]);
        if layout.minima {
            let both = parts.scales.iter().zip(&parts.minima).take(groups);
            offsets.extend(both.map(|(scale, minimum)| minimum + 8.0 * scale));
        }
    });
    let (bits, block) = (layout.bits, layout.group);
    let offsets = layout.minima.then_some(offsets);
    Some(Blocks { bits, block, rows, columns, quants, scales, offsets })
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// A half-precision scale, then 32 signed bytes.
fn unpack_q8_0(block: &[u8], parts: &mut Parts) {
    parts.scales[0] = half(block, 0);
    for (code, byte) in parts.codes.iter_mut().zip(&block[2..]) {
        *code = byte ^ 0x80;
    }
}

/// A half-precision scale, then 16 bytes of two codes.
fn unpack_q4_0(block: &[u8], parts: &mut Parts) {
    parts.scales[0] = half(block, 0);
    nibbles(&block[2..], &mut parts.codes[..32]);
}

/// A half-precision scale and minimum, then 16 bytes of two codes.
fn unpack_q4_1(block: &[u8], parts: &mut Parts) {
    parts.scales[0] = half(block, 0);
    parts.minima[0] = half(block, 2);
    nibbles(&block[4..], &mut parts.codes[..32]);
}

/// Half-precision scales of the scales and of the minima, both of 6 bits, eight of each in 12 bytes,
/// then four times 32 bytes of two codes.
fn unpack_q4_k(block: &[u8], parts: &mut Parts) {
    let (scale, minimum) = (half(block, 0), half(block, 2));
    let packed = &block[4..16];
    for group in 0..8 {
        let (six_scale, six_minimum) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            // The upper two bits are those that the first four leave.
            let low = packed[group + 4];
            let high = |byte: u8| (byte >> 6) << 4;
            (low & 15 | high(packed[group - 4]), low >> 4 | high(packed[group]))
        };
        parts.scales[group] = scale * f32::from(six_scale);
        parts.minima[group] = -(minimum * f32::from(six_minimum));
    }
    for (codes, bytes) in parts.codes.chunks_exact_mut(64).zip(block[16..].chunks_exact(32)) {
        nibbles(bytes, codes);
    }
}

/// The lower four bits of all codes, their upper two, sixteen signed scales of a byte, and the
/// half-precision scale of these.
fn unpack_q6_k(block: &[u8], parts: &mut Parts) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let scale = half(rest, 16);
    for (out, &byte) in parts.scales.iter_mut().zip(&rest[..16]) {
        *out = scale * f32::from(byte.cast_signed());
    }
    for (index, code) in parts.codes.iter_mut().enumerate() {
        // Halves of 128 values; in each, four runs of 32: two in the low nibbles, two in the high.
        let (half, run, at) = (index / 128, index % 128 / 32, index % 32);
        let four = low[half * 64 + run % 2 * 32 + at] >> (run / 2 * 4) & 15;
        let two = high[half * 32 + at] >> (run * 2) & 3;
        *code = (four | two << 4) + (128 - 32);
    }
}

/// The low nibbles of `bytes`, then the high ones.
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(bytes.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}
