//! Selectors: which layers are tapped and which tokens leave the device.
//!
//! | tag | layers | tokens |
//! |---|---|---|
//! | `all` | 1 to the last; 0, the embedding, as an option | every token |
//! | `loss-tokens` | 1 to the last | the one that enters the loss, or the mean over tokens: one row a sample |
//! | `every-nth-layer` | every n-th of the `tokens` selector's, the last always | those of the `tokens` selector |
//! | `chosen-layers` | those of a list | those of the `tokens` selector |
//!
//! A selector takes padded hidden states `[batch, tokens, hidden]` and gives the wanted rows
//! `[rows, hidden]`; padding never gets through. Fewer rows are fewer bytes, and say less about the
//! text; they still say something. [`LossTokens`] says when one row is as good as all.
//!
//! # Example
//!
//! Every fourth layer of twelve, counted from the last, and of these the rows that enter the loss:
//!
//! ```
//! # use mobillm_core::backbone::{BackboneInfo, Pooling, Tap};
//! # use mobillm_core::fingerprint::Fingerprint;
//! use mobillm_core::selector::SelectorConfig;
//!
//! # let info = BackboneInfo { architecture: "bert".into(), layers: 12, hidden: 3, max_tokens: 8,
//! #     vocabulary: 9, pooling: Pooling::LastToken, own_outputs: None, language_head: false, bundle: Fingerprint::of(b"") };
//! let mut registry = mobillm_core::registry::Registry::new();
//! mobillm_selectors::register(&mut registry)?;
//!
//! let config: Box<dyn SelectorConfig> =
//!     serde_json::from_str(r#"{ "type": "every-nth-layer", "n": 4, "tokens": { "type": "loss-tokens" } }"#)?;
//! let selector = config.build(&info);
//! assert_eq!(selector.layers(&info), [4, 8, 12]);
//!
//! // Two samples of two and one tokens, padded to two.
//! let hidden = ndarray::Array3::<f32>::zeros((2, 2, 3));
//! let tap = Tap { layer: 4, hidden: hidden.view(), lengths: &[2, 1] };
//! let selected = selector.select(&tap, Vec::new())?;
//! assert_eq!(selected.rows().dim(), (2, 3));
//! // Which token it was stays on the device.
//! assert_eq!(selected.layout().positions(0), [0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod all;
mod chosen_layers;
mod every_nth_layer;
mod loss_tokens;
mod padding;
#[cfg(test)]
mod setup;
mod tokens;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use all::{All, AllConfig};
pub use chosen_layers::{ChosenLayers, ChosenLayersConfig};
pub use every_nth_layer::EveryNthLayerConfig;
pub use loss_tokens::{LossTokens, LossTokensConfig};

/// Registers the selectors of this crate.
///
/// # Errors
/// If one of their tags is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    let origin = env!("CARGO_PKG_NAME");
    registry.register::<AllConfig>(origin)?;
    registry.register::<LossTokensConfig>(origin)?;
    registry.register::<EveryNthLayerConfig>(origin)?;
    registry.register::<ChosenLayersConfig>(origin)
}
