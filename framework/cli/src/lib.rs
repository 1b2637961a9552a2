//! The mobillm command

use mobillm_core::registry::{DuplicateTag, Registry};

/// The plugins that come with the program.
///
/// # Errors
/// If two of them claim one tag.
pub fn with_builtins() -> Result<Registry, DuplicateTag> {
    let mut registry = Registry::new();
    mobillm_backbone_onnxruntime::register(&mut registry)?;
    mobillm_selectors::register(&mut registry)?;
    mobillm_privacy::register(&mut registry)?;
    mobillm_quantizers::register(&mut registry)?;
    mobillm_transport_in_memory::register(&mut registry)?;
    mobillm_transport_tcp::register(&mut registry)?;
    mobillm_adapter_candle::register(&mut registry)?;
    #[cfg(feature = "libtorch")]
    mobillm_adapter_libtorch::register(&mut registry)?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_plugin_and_no_tag_is_taken_twice() {
        let registry = with_builtins().unwrap();
        let mut slots: Vec<_> = registry.entries().map(|entry| entry.slot).collect();
        slots.dedup();
        assert_eq!(slots.len(), 6);
    }
}
