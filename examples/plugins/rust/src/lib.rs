//! A third party's library for mobillm: a quantizer and a privacy policy that a config may name.
//!
//! | slot | tag | what it does |
//! |---|---|---|
//! | quantizer | `acme.q6` | six bits a value, in groups that share a step |
//! | privacy | `acme.clip` | rows no longer than a given norm, and the labels |
//!
//! Each component is two types: a config twin, which serde reads from the options of a config and which finds
//! every mistake in them, and what it builds, which implements the trait of its slot. [`mobillm_plugin::export!`]
//! makes the library's door of the config twins. The same types may be linked in: a program depends on this crate with
//! `default-features = false`, because a program has one door, and calls [`register`].
//!
//! `cargo build --release` makes `libacme_codes.so` (`.dylib`, `.dll`), and a config loads it:
//!
//! ```toml
//! quantizer = { type = "acme.q6", group = 64 }
//! privacy = { type = "acme.clip", norm = 30.0 }
//!
//! [plugins]
//! load = ["libacme_codes.so"]
//! ```
//!
//! The tests run the laws of both slots, as they are and through the door. `mobillm plugins new` begins a
//! library of your own.

mod clip;
mod q6;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use clip::{Clip, ClipConfig};
pub use q6::{Q6, Q6Config};

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    quantizers: [Q6Config],
    privacy_policies: [ClipConfig],
}

/// Registers what is here, for a program that links it in.
///
/// # Errors
/// If one of the tags is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    let origin = env!("CARGO_PKG_NAME");
    registry.register::<Q6Config>(origin)?;
    registry.register::<ClipConfig>(origin)
}

#[cfg(test)]
mod tests;
