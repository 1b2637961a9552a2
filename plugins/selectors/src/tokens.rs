//! The option `tokens` of selectors that choose layers: another selector.

use mobillm_core::backbone::BackboneInfo;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::selector::SelectorConfig;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::all::AllConfig;

pub(crate) fn default() -> Box<dyn SelectorConfig> {
    Box::new(AllConfig::default())
}

/// What is wrong with the option for a model like `info`.
pub(crate) fn check(tokens: &dyn SelectorConfig, info: &BackboneInfo) -> Vec<Diagnostic> {
    let found = tokens.check(info).into_iter();
    found.map(|finding| finding.under("tokens")).collect()
}

pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-mobillm-slot": "selector",
        "default": { "type": "all" },
    })
}
