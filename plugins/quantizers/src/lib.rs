//! Quantizers: how rows of f32 become bytes on the link.
//!
//! | tag    | bits a value | what it keeps |
//! |--------|--------------|---------------|
//! | `none` | 32           | everything |
//! | `fp16` | 16           | 11 significant bits, magnitudes up to 65504 |
//! | `int8` | 8 + scales   | 255 even steps per block |
//! | `nf4`  | 4 + scales   | 16 levels per block, dense around zero (NormalFloat4, QLoRA) |
//! | `fp4`  | 4 + scales   | 15 levels per block, dense around zero (E2M1) |
//!
//! The last three are *block-wise absmax* codes: a row is cut into blocks of `block` values, each
//! block is divided by its largest magnitude, its *scale*, and the quotients in [-1, 1] are rounded
//! to the nearest level. Blocks never cross rows, so a row is readable alone:
//!
//! ```text
//! row = [scales] [codes]
//! scales: an f32 per block, or with `double_quantization` one f32 and then a byte per block
//! codes:  a byte per value (int8), or two values a byte, the earlier one in the low nibble
//! ```
//!
//! All numbers are little-endian. A last block may be short; a last nibble without a value is zero.
//!
//! Every quantizer declares the most that a value can change
//! ([`error_bound`](mobillm_core::quantizer::Quantizer::error_bound)): half the gap between the
//! levels around it times its scale, and a few units of rounding.
//!
//! The loops exist for AVX-512, for AVX2 and portably; the fastest that the machine can run is taken
//! at run time, and all give the same bytes.
//!
//! # Example
//!
//! ```
//! use mobillm_core::activations::{Layout, Selected};
//! use mobillm_core::privacy::{AnswerScale, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release};
//! use mobillm_core::quantizer::{Payload, QuantizerConfig, decode, encode};
//! use mobillm_quantizers::Nf4Config;
//!
//! # struct Open;
//! # impl PrivacyPolicy for Open {
//! #     fn info(&self) -> PolicyInfo {
//! #         PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".into() }
//! #     }
//! # }
//! let row: Vec<f32> = (0..768).map(|i| (i as f32).sin()).collect();
//! let selected = Selected::new(1, Layout::from_counts([1]), 768, row.clone())?;
//! let context = ReleaseContext { samples: &[], purpose: Purpose::Train };
//! let cleared = release(&mut Open, &context, selected)?;
//!
//! let quantizer = Nf4Config::default().build();
//! let (mut bytes, mut decoded) = (Vec::new(), Vec::new());
//! encode(&*quantizer, &cleared, &mut bytes)?;
//! assert_eq!(bytes.len(), 16 + 12 * 4 + 768 / 2); // header, 12 scales, two codes a byte
//!
//! decode(&*quantizer, &Payload::parse(&bytes, &*quantizer, (1, 768))?, &mut decoded)?;
//! for ((value, decoded), bound) in row.iter().zip(&decoded).zip(quantizer.error_bound(&row)) {
//!     assert!((value - decoded).abs() <= bound);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod by_row;
mod codebook;
mod config;
mod float;
mod kernel;
mod scale;

pub use config::{Fp4Config, Fp16Config, Int8Config, Nf4Config, NoneConfig};

use mobillm_core::registry::{DuplicateTag, Registry};

/// Adds `none`, `fp16`, `int8`, `nf4` and `fp4`.
///
/// # Errors
/// If one of these tags is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    let origin = env!("CARGO_PKG_NAME");
    registry.register::<NoneConfig>(origin)?;
    registry.register::<Fp16Config>(origin)?;
    registry.register::<Int8Config>(origin)?;
    registry.register::<Nf4Config>(origin)?;
    registry.register::<Fp4Config>(origin)
}
