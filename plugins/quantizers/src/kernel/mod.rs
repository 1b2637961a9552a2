//! The loops over values, once per instruction set.
//!
//! [`portable`] says what the bytes are; the others are held to it bit for bit by the law below.
//! They call it for a row's last values, where these do not fill a vector.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::codebook::Codebook;

/// The loops over one row. Blocks are multiples of 16; `scales` hold one per block.
pub(crate) trait Kernel: std::fmt::Debug + Send + Sync {
    /// The largest magnitude of each block. Magnitudes are ordered by their bits, so that a block with
    /// an infinity or a NaN gives one.
    fn absmax(&self, row: &[f32], block: usize, largest: &mut [f32]);

    /// Codes of one byte: normalized values rounded to the nearest integer, ties to even.
    fn encode_int8(&self, row: &[f32], block: usize, scales: &[f32], codes: &mut [u8]);

    /// `(code * (1 / 127)) * scale`.
    fn decode_int8(&self, codes: &[u8], block: usize, scales: &[f32], row: &mut [f32]);

    /// Codes of normalized values by their rank in `book`, two a byte.
    fn encode_nibbles(
        &self,
        book: &Codebook,
        row: &[f32],
        block: usize,
        scales: &[f32],
        codes: &mut [u8],
    );

    /// `level * scale`.
    fn decode_nibbles(
        &self,
        book: &Codebook,
        codes: &[u8],
        block: usize,
        scales: &[f32],
        row: &mut [f32],
    );

    /// The values as they are, little-endian. Returns the bits of the largest magnitude.
    fn encode_plain(&self, row: &[f32], bytes: &mut [[u8; 4]]) -> u32;

    /// What [`encode_plain`](Self::encode_plain) wrote, and the bits of its largest magnitude.
    fn decode_plain(&self, bytes: &[[u8; 4]], row: &mut [f32]) -> u32;

    /// Halves, little-endian, rounded to nearest even. Returns the bits of the largest magnitude.
    fn encode_fp16(&self, row: &[f32], halves: &mut [[u8; 2]]) -> u32;

    /// The values of halves, and the bits of their largest magnitude.
    fn decode_fp16(&self, halves: &[[u8; 2]], row: &mut [f32]) -> u32;
}

/// The kernels that this machine can run, the fastest first.
fn available() -> impl Iterator<Item = &'static dyn Kernel> {
    #[cfg(target_arch = "x86_64")]
    let vectorized = [avx512::Avx512::detect(), avx2::Avx2::detect()];
    #[cfg(not(target_arch = "x86_64"))]
    let vectorized: [Option<&'static dyn Kernel>; 0] = [];
    vectorized.into_iter().flatten().chain([&portable::Portable as &dyn Kernel])
}

/// The fastest kernel that this machine can run.
pub(crate) fn fastest() -> &'static dyn Kernel {
    available().next().unwrap_or(&portable::Portable)
}

/// How many of a row's values fill groups of 16, which never cross blocks. What is left belongs to
/// the row's last block.
#[cfg(target_arch = "x86_64")]
fn whole_vectors(hidden: usize) -> usize {
    hidden - hidden % 16
}

#[cfg(test)]
mod laws;
