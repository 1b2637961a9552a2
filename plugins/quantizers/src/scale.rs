//! Scales: what a block is divided by, and their own 8 bit code.

/// Bytes of an f32.
pub(crate) const F32_BYTES: usize = 4;

/// Maps a block to the range of its code, as `(value * prescale) * inverse`.
///
/// The reciprocal of a scale below 2^-128 is infinite, and that of one near the largest number is
/// imprecise. An exact power of two in front keeps every step among ordinary numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normalizer {
    pub prescale: f32,
    pub inverse: f32,
}

/// 2^64 and 2^-64.
const LARGE: f32 = 18_446_744_073_709_551_616.0;
const SMALL: f32 = 1.0 / LARGE;

impl Normalizer {
    /// Maps magnitudes up to `scale` to magnitudes up to `top`, with a relative error of at most
    /// 2^-23 (one rounding of the reciprocal, one of the product).
    #[inline]
    pub fn new(scale: f32, top: f32) -> Self {
        let prescale = match scale {
            _ if scale < SMALL => LARGE,
            _ if scale > LARGE => SMALL,
            _ => 1.0,
        };
        let inverse = if scale == 0.0 { 0.0 } else { top / (scale * prescale) };
        Self { prescale, inverse }
    }

    #[inline]
    pub fn apply(self, value: f32) -> f32 {
        (value * self.prescale) * self.inverse
    }
}

/// Whether a foreign scale is one that an encoder writes: finite, and without a sign.
pub(crate) fn is_scale(scale: f32) -> bool {
    scale.to_bits() < f32::INFINITY.to_bits()
}

/// The mantissa bits that a scale's code drops.
const DROPPED_BITS: u32 = 19;
/// What the kept bits of 1.0 are above code 255.
const CODE_OFFSET: u32 = (1f32.to_bits() >> DROPPED_BITS) - u8::MAX as u32;

/// The fraction of the row's largest scale that `code` stands for.
///
/// A code is the upper bits of an f32, four of the exponent and four of the mantissa: 255 is 1, code
/// 1 is 1.7e-5, and neighbours are 1/16 apart at most. Relative steps keep small blocks precise in
/// rows where a few channels dominate. Code 0 is zero.
fn fraction(code: u8) -> f32 {
    let fraction = f32::from_bits((u32::from(code) + CODE_OFFSET) << DROPPED_BITS);
    if code == 0 { 0.0 } else { fraction }
}

/// The code of the smallest fraction that is not below `scale / largest`, so that the scale it stands
/// for covers its block: it exceeds `scale` by 1/16 at most, or is 1.8e-5 of `largest`.
fn code(scale: f32, largest: f32) -> u8 {
    let kept = (scale / largest).to_bits().div_ceil(1 << DROPPED_BITS);
    let code = kept.saturating_sub(CODE_OFFSET).clamp(1, u32::from(u8::MAX));
    if scale == 0.0 { 0 } else { code as u8 }
}

/// Replaces `scales` by what their codes stand for, and writes the largest scale and the codes.
pub(crate) fn double_quantize(scales: &mut [f32], out: &mut [u8]) {
    let largest = scales.iter().copied().fold(0.0, f32::max);
    let (head, codes) = out.split_at_mut(F32_BYTES);
    head.copy_from_slice(&largest.to_le_bytes());
    for (scale, out) in scales.iter_mut().zip(codes) {
        *out = code(*scale, largest);
        *scale = largest * fraction(*out);
    }
}

/// Reads what [`double_quantize`] wrote.
pub(crate) fn double_dequantize(bytes: &[u8], scales: &mut [f32]) -> Result<(), String> {
    let (head, codes) = bytes.split_at(F32_BYTES);
    let mut largest = 0.0;
    read(head, std::slice::from_mut(&mut largest))?;
    for (scale, &code) in scales.iter_mut().zip(codes) {
        *scale = largest * fraction(code);
    }
    Ok(())
}

/// Writes scales as they are.
pub(crate) fn write(scales: &[f32], out: &mut [u8]) {
    for (scale, out) in scales.iter().zip(out.as_chunks_mut().0) {
        *out = scale.to_le_bytes();
    }
}

/// Reads what [`write`] wrote.
pub(crate) fn read(bytes: &[u8], scales: &mut [f32]) -> Result<(), String> {
    for (index, (scale, &bytes)) in scales.iter_mut().zip(bytes.as_chunks().0).enumerate() {
        *scale = f32::from_le_bytes(bytes);
        if !is_scale(*scale) {
            return Err(format!(
                "scale {index} is {scale}; expected a finite number, zero or more"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fractions_ascend_in_small_steps() {
        assert_eq!((fraction(0), fraction(255)), (0.0, 1.0));
        for code in 1..255 {
            let (low, high) = (fraction(code), fraction(code + 1));
            assert!(low < high && high <= low * (1.0 + 1.0 / 16.0), "{code}");
        }
        assert!(fraction(1) < 1.8e-5);
    }

    proptest! {
        #[test]
        fn a_coded_scale_covers_its_block(
            bits in 0..f32::INFINITY.to_bits(), largest_bits in 0..f32::INFINITY.to_bits(),
        ) {
            let scale = f32::from_bits(bits.min(largest_bits));
            let largest = f32::from_bits(bits.max(largest_bits));
            let mut scales = [largest, scale];
            let mut bytes = [0; 6];
            double_quantize(&mut scales, &mut bytes);
            prop_assert_eq!(scales[0], largest);
            let (scale, coded) = (f64::from(scale), f64::from(scales[1]));
            prop_assert!(coded >= scale * (1.0 - 1e-6), "{} < {}", coded, scale);
            let most = f64::max(scale * (17.0 / 16.0), 1.8e-5 * f64::from(largest));
            prop_assert!(coded <= most * (1.0 + 1e-6) + 1e-45, "{} > {}", coded, most);

            let mut read = [f32::NAN; 2];
            double_dequantize(&bytes, &mut read).unwrap();
            prop_assert_eq!(read, scales);
        }

        #[test]
        fn normalizing_is_precise_at_every_magnitude(
            bits in 1..f32::INFINITY.to_bits(), fraction in -1.0f32..=1.0,
        ) {
            let scale = f32::from_bits(bits);
            let value = scale * fraction;
            for top in [1.0, 127.0] {
                let exact = f64::from(value) / f64::from(scale) * f64::from(top);
                let got = f64::from(Normalizer::new(scale, top).apply(value));
                let most = exact.abs() * f64::from(f32::EPSILON) + 1e-25;
                prop_assert!((got - exact).abs() <= most, "{} {}", got, exact);
            }
        }
    }

    #[test]
    fn a_zero_block_stays_zero() {
        assert_eq!(Normalizer::new(0.0, 127.0).apply(0.0), 0.0);
    }

    #[test]
    fn what_is_no_scale_is_refused() {
        for scale in [f32::NAN, f32::INFINITY, -1.0, -0.0] {
            let error = read(&scale.to_le_bytes(), &mut [0.0]).unwrap_err();
            assert!(error.starts_with("scale 0 is"), "{error}");
        }
    }
}
