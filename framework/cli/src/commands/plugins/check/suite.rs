//! The laws of a component that is loaded, and what they need.

use mobillm_core::backbone::BackboneContext;
use mobillm_core::registry::Slot;
use mobillm_plugin::Component;
use mobillm_testkit::law::Law;
use mobillm_testkit::suite::{self, Setting};
use mobillm_testkit::transport::Limits;
use serde_json::{Map, Value, json};

/// An option of transports: bytes of the largest frame. Where there is one it is tried with this.
const MAX_FRAME: (&str, usize) = ("max_frame_bytes", 1 << 20);

/// Gives the laws of `component`, made of `options` and, if it is a backbone, of `backbone`, to `then`.
///
/// # Errors
/// If there is no such component, or if its options are wrong.
pub(super) fn of<T>(
    component: &Component,
    mut options: Map<String, Value>,
    backbone: Option<BackboneContext>,
    then: impl FnOnce(&[Law<'_>]) -> T,
) -> Result<T, serde_json::Error> {
    let mut setting = Setting { backbone, ..Setting::default() };
    let (key, most) = MAX_FRAME;
    if component.slot == Slot::Transport && has_option(component, key) {
        options.insert(key.to_owned(), json!(most));
        setting.limits = Limits { max_frame_bytes: Some(most) };
    }
    // As a config loader writes what is loaded.
    let table = json!({ "type": "loaded", "tag": component.tag, "options": options });
    let component = suite::Component::parse(component.slot, table)?;
    Ok(then(&component.laws(&setting)))
}

fn has_option(component: &Component, key: &str) -> bool {
    !component.schema.as_value()["properties"][key].is_null()
}
