//! The option `tokens` of selectors that choose layers: another selector.

use mobillm_core::selector::SelectorConfig;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::all::AllConfig;

pub(crate) fn default() -> Box<dyn SelectorConfig> {
    Box::new(AllConfig::default())
}

pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-mobillm-slot": "selector",
        "default": { "type": "all" },
    })
}
