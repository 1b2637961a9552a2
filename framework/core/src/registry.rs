//! Which plugins are linked in.
//!
//! A plugin crate has `pub fn register(&mut Registry)`, and whoever assembles a program calls it.
//! An rlib that nobody names is not linked and would silently not be there; a tag given twice would
//! fail only at its first use. The registry makes both visible at start.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The six places of a pipeline that a plugin can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    /// [`crate::backbone::Backbone`]
    Backbone,
    /// [`crate::selector::Selector`]
    Selector,
    /// [`crate::privacy::PrivacyPolicy`]
    PrivacyPolicy,
    /// [`crate::quantizer::Quantizer`]
    Quantizer,
    /// [`crate::transport::Transport`]
    Transport,
    /// [`crate::side_network::SideNetwork`]
    SideNetwork,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Backbone => "backbone",
            Self::Selector => "selector",
            Self::PrivacyPolicy => "privacy policy",
            Self::Quantizer => "quantizer",
            Self::Transport => "transport",
            Self::SideNetwork => "side network",
        })
    }
}

/// A config twin that can be registered. `TAG` is its typetag name.
pub trait Plugin: JsonSchema {
    /// The place it fills.
    const SLOT: Slot;
    /// Its name in a config's `type`: kebab-case; third parties put a dot in theirs.
    const TAG: &'static str;
}

/// One registered plugin.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The place it fills.
    pub slot: Slot,
    /// Its name in a config's `type`.
    pub tag: &'static str,
    /// The crate or library that it comes from.
    pub origin: &'static str,
    /// Whether it comes from a dynamic library, rather than being linked in.
    pub loaded: bool,
    /// Its options as a JSON schema; the description is its line of help.
    pub schema: Schema,
}

/// Two plugins claim one tag.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "the {slot} `{tag}` is registered by {first} and by {second}; tags must be unique in a slot"
)]
pub struct DuplicateTag {
    slot: Slot,
    tag: &'static str,
    first: &'static str,
    second: &'static str,
}

/// The plugins of a program.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    entries: BTreeMap<(Slot, &'static str), Entry>,
    remedies: BTreeMap<(Slot, &'static str), &'static str>,
}

impl Registry {
    /// A registry without plugins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds plugin `P` of the crate `origin`.
    ///
    /// # Errors
    /// If its tag is taken in its slot.
    pub fn register<P: Plugin>(&mut self, origin: &'static str) -> Result<(), DuplicateTag> {
        let schema = schemars::schema_for!(P);
        self.insert(Entry { slot: P::SLOT, tag: P::TAG, origin, loaded: false, schema })
    }

    /// Adds a plugin.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn insert(&mut self, entry: Entry) -> Result<(), DuplicateTag> {
        let Entry { slot, tag, origin, .. } = entry;
        if let Some(known) = self.entries.get(&(slot, tag)) {
            return Err(DuplicateTag { slot, tag, first: known.origin, second: origin });
        }
        self.entries.insert((slot, tag), entry);
        Ok(())
    }

    /// Says of a plugin that configs may name, and that this program has not, how to get it.
    pub fn absent(&mut self, slot: Slot, tag: &'static str, remedy: &'static str) {
        self.remedies.insert((slot, tag), remedy);
    }

    /// How to get the plugin `tag` of `slot`, if anybody has said so.
    pub fn remedy(&self, slot: Slot, tag: &str) -> Option<&'static str> {
        let mut remedies = self.remedies.iter();
        remedies.find(|((of, named), _)| *of == slot && *named == tag).map(|(_, remedy)| *remedy)
    }

    /// The plugin `tag` of `slot`.
    pub fn entry(&self, slot: Slot, tag: &str) -> Option<&Entry> {
        self.of(slot).find(|entry| entry.tag == tag)
    }

    /// All plugins of `slot`, by tag.
    pub fn of(&self, slot: Slot) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.slot == slot)
    }

    /// All plugins, by slot and tag.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    struct Fake {
        n: u8,
    }
    impl Plugin for Fake {
        const SLOT: Slot = Slot::Selector;
        const TAG: &'static str = "fake";
    }

    #[test]
    fn a_tag_is_registered_once() {
        let mut registry = Registry::new();
        registry.register::<Fake>("one").unwrap();
        let error = registry.register::<Fake>("two").unwrap_err();
        assert_eq!((error.first, error.second), ("one", "two"));
        assert!(registry.entry(Slot::Selector, "fake").is_some());
        assert!(registry.entry(Slot::Quantizer, "fake").is_none());
    }

    #[test]
    fn a_plugin_that_is_absent_has_a_remedy_in_its_slot_and_no_entry() {
        let mut registry = Registry::new();
        registry.absent(Slot::SideNetwork, "far", "fetch it");
        assert_eq!(registry.remedy(Slot::SideNetwork, "far"), Some("fetch it"));
        assert_eq!(registry.remedy(Slot::Backbone, "far"), None);
        assert!(registry.entry(Slot::SideNetwork, "far").is_none());
    }
}
