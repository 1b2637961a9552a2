//! The laws of the slot, behind the door.

use mobillm_core::registry::Slot;
use mobillm_testkit::law::Verdict;
use mobillm_testkit::suite::{Component, Setting};
use serde_json::json;

use super::{library, table};

/// Holds every law against the component of this architecture and tells all that are broken at once. With one thread:
/// networks of this size are only slowed by more.
fn keeps_the_laws(architecture: &str) {
    library();
    let options = json!({ "threads": 1, "architecture": { "type": architecture } });
    let component = Component::parse(Slot::SideNetwork, table(options)).unwrap();
    let (setting, mut kept, mut others) = (Setting::default(), 0, Vec::new());
    for law in component.laws(&setting) {
        match law.run() {
            Verdict::Kept => kept += 1,
            other => others.push(format!("{law}: {other:?}")),
        }
    }
    assert!(others.is_empty() && kept > 0, "{architecture}:\n{}", others.join("\n\n"));
}

#[test]
fn the_library_has_one_component() {
    let components = library().components.iter();
    let there: Vec<(Slot, &str)> = components.map(|one| (one.slot, &*one.tag)).collect();
    assert_eq!(there, [(Slot::SideNetwork, "libtorch")]);
}

#[test]
fn the_network_that_answers_alone() {
    keeps_the_laws("parallel-adapter");
}

#[test]
fn the_network_that_is_added() {
    keeps_the_laws("additive-adapter");
}

#[test]
fn the_networks_that_mix_tokens() {
    ["parallel-pooling", "additive-pooling"].into_iter().for_each(keeps_the_laws);
}
