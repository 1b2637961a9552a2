//! `schema`.

use mobillm::config::{reference, schema as schema_of};

use super::{Outcome, print};
use crate::arguments::{Arguments, SchemaArguments};

/// The schema is JSON whoever reads it; the reference is Markdown.
pub(super) fn schema(arguments: &Arguments, schema: &SchemaArguments) -> Outcome {
    let registry = super::plugins::registry(&schema.sources)?;
    if !schema.reference {
        return print(true, &schema_of(&registry), String::new);
    }
    let components: Vec<_> = registry.entries().map(reference::component).collect();
    print(arguments.json, &components, || reference::markdown(&registry).trim_end().to_owned())
}
